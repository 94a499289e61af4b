"""The base classes of the lab's AWS resources: the tags that say whose they are, and how what carries them is found."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from llmlab.aws import network_guests
from llmlab.aws.pages import every
from llmlab.aws.patience import IN_USE, patiently
from llmlab.aws.policies_documents import Policy
from llmlab.aws.rates import Uses
from llmlab.aws.session import Aws, AwsError, NotFound
from llmlab.clock import Clock, SystemClock, wait_until
from llmlab.contract import Names, Tag
from llmlab.errors import LabError
from llmlab.infra.resource import Resource
from llmlab.lifecycle.instances import tag_filters

T = TypeVar("T")
TRIES = 5
"""Attempts at a creation, as many as botocore's own retries make."""
LINGER_SECONDS = 600
"""How long the resources in a network may take to go: GPU instances take minutes to give their network interfaces back."""
SHOWN_SECONDS = 120
"""How long EC2 may take until a lookup by tags shows a new resource.
https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html"""
GONE = {"deleted", "deleting", "closed", "cancelled", "failed"}
"""States in which EC2 goes on to show what no longer exists."""


@dataclass(frozen=True)
class Leftover:
    """Something of the lab's. `results` is true for what a plain teardown keeps on purpose, `command` ends it by hand."""

    kind: str
    id: str
    results: bool = False
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class AwsResource(Resource):
    """A resource of one account and region. `clock` is for the few waits AWS asks for.

    What is asked of the class and not of an instance does not depend on the lab's present settings: it must also find what earlier ones
    have made.
    """

    aws: Aws = field(repr=False, compare=False)
    clock: Clock = field(default_factory=SystemClock, repr=False, compare=False)

    @property
    def names(self) -> Names:
        return self.aws.names

    @abstractmethod
    def tags(self) -> Mapping[str, str]:
        """The tags of what exists under this name."""

    def ours(self) -> bool:
        return is_ours(self.aws, self.tags())

    @classmethod
    @abstractmethod
    def find_leftovers(cls, aws: Aws) -> Iterable[Leftover]:
        """Find what AWS shows of this kind that is the lab's: by tag, or by name and tag."""

    @classmethod
    @abstractmethod
    def idle_cost(cls, aws: Aws, leftover: Leftover, now: datetime) -> Uses:
        """What one of `find_leftovers` uses in a month in which nothing runs."""

    @classmethod
    @abstractmethod
    def operator_statements(cls, names: Names) -> Iterable[Policy]:
        """What whoever runs `llmlab` may do with the lab's own of this kind, as few actions as its methods call.

        Several classes may have a statement of the same Sid: `policies_documents.together` says when.
        """

    def wait(self, check: Callable[[], bool], awaited: str, *, seconds: float = 120, every: float = 2, in_a_row: int = 1) -> None:
        """Wait until `check` holds, or raise a `LabError` that says what was awaited."""
        if not wait_until(check, self.clock, limit_seconds=seconds, every_seconds=every, in_a_row=in_a_row):
            raise LabError(f"{self.key}: {awaited} did not happen within {seconds:.0f} seconds", "llmlab bootstrap")

    def persist(self, call: Callable[[], object], passing: Sequence[str], awaited: str, *, seconds: float = 120, every: float = 5) -> None:
        """Repeat a call while AWS refuses it with one of `passing`: IAM takes a while to be seen by other services."""
        patiently(
            call, self.clock, passing=passing, awaited=f"{self.key}: {awaited}", hint="llmlab bootstrap", seconds=seconds, every=every
        )


@dataclass(frozen=True, kw_only=True)
class Ec2Resource(AwsResource):
    """An EC2 resource that has no name of its own: it is found by its tags, so what is found is ours."""

    seen: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The description of the last `look`, so that resources that refer to this one need no call of their own."""

    @abstractmethod
    def descriptions(self) -> Sequence[Mapping[str, Any]]:
        """EC2's descriptions of all that exist now: more than one, where two bootstraps ran at once."""

    def find(self) -> Mapping[str, Any] | None:
        """EC2's description of the only one, None when there is none.

        Raises:
            LabError: there are several.
        """
        return self.only(self.descriptions())

    @abstractmethod
    def id_of(self, description: Mapping[str, Any]) -> str: ...

    def look(self) -> Mapping[str, Any] | None:
        """`find`, and remember the description."""
        description = self.find()
        self.seen["description"] = description
        return description

    def need(self) -> Mapping[str, Any]:
        """The resource as EC2 describes it now.

        Raises:
            NotFound: there is none.
        """
        description = self.look()
        if description is None:
            raise NotFound(f"there is no {self.key}", "llmlab bootstrap")
        return description

    def exists(self) -> bool:
        return bool(self.descriptions())

    def create_alone(self, create: Callable[[Any], Any], discard: Callable[[str], object]) -> None:
        """Create one of what EC2 would create twice without complaint. `create` is handed a client of EC2 that does not retry.

        A call without an answer may have taken effect, so the resource is looked for before the call is repeated. A new resource is waited
        for, and one that an earlier call made is shown by then. Where another bootstrap made one at the same time, each `discard`s its
        own and looks again after some seconds of its own: by the random id that EC2 gave.
        """
        for number in range(TRIES):
            try:
                mine = self.id_of(create(self.aws.client("ec2", attempts=1)))
            except AwsError as error:
                if not error.passing or number == TRIES - 1:
                    raise
                self.clock.sleep(2**number)
            else:
                self.await_shown(mine)
                if {self.id_of(description) for description in self.descriptions()} <= {mine}:
                    return
                discard(mine)
                self.clock.sleep(int(mine[-2:], 16) % 16)
            if self.exists():
                return
        raise LabError(f"{self.key}: others make it at the same time", "llmlab bootstrap")

    def await_shown(self, identity: str) -> None:
        """Wait until EC2 shows a new resource: those that need it look for it by its tags.

        Raises:
            LabError: it does not.
        """
        self.wait(
            lambda: identity in {self.id_of(description) for description in self.descriptions()},
            "EC2 showing it",
            seconds=SHOWN_SECONDS,
            every=1,
        )

    def id(self) -> str | None:
        """EC2's id of it, as last seen; looked up when nobody has yet."""
        description = self.seen["description"] if self.seen.get("description") else self.look()
        return self.id_of(description) if description else None

    def need_id(self) -> str:
        return self.id_of(self.seen.get("description") or self.need())

    def delete_patiently(
        self, delete: Callable[[], object], awaited: str, vpc: str | None, *, alone: bool = False, also: Sequence[str] = ()
    ) -> None:
        """Repeat a deletion while EC2 says that the resource is still in use: network interfaces linger after "terminated".

        What is in the way is named; at once, where it does not go by itself. `alone` is for the VPC, in which nothing may be left.
        https://github.com/hashicorp/terraform-provider-aws/issues/9495
        """
        patiently(
            delete,
            self.clock,
            passing=(*IN_USE, *also),
            awaited=f"{self.key}: {awaited}",
            hint="llmlab teardown",
            seconds=LINGER_SECONDS,
            every=10,
            why=lambda last: network_guests.in_the_way(self.aws, vpc, last=last, alone=alone) if vpc else None,
        )

    def tags(self) -> Mapping[str, str]:
        descriptions = self.descriptions()
        return from_list(descriptions[0].get("Tags", [])) if descriptions else {}

    @property
    def filters(self) -> list[Any]:
        """Filters by our three tags."""
        tags = {**self.names.tags, Tag.NAME: self.name}
        return tag_filters(tags)

    def specification(self, resource_type: str) -> list[Any]:
        """TagSpecifications for the creating call."""
        return [{"ResourceType": resource_type, "Tags": to_list({**self.names.tags, Tag.NAME: self.name})}]

    def only(self, descriptions: Sequence[T]) -> T | None:
        """The only one of these, None without any; two mean that two bootstraps ran at once."""
        if len(descriptions) > 1:
            raise LabError(f"there are {len(descriptions)} of {self.key}, and the lab needs one", "llmlab teardown")
        return descriptions[0] if descriptions else None


def is_ours(aws: Aws, tags: Mapping[str, str]) -> bool:
    """Whether these are the tags of something of the lab's."""
    return all(tags.get(key) == value for key, value in aws.names.tags.items())


def if_ours(aws: Aws, kind: str, identity: str, tags: Any) -> Iterator[Leftover]:
    """A leftover where these tags, in either spelling that AWS uses, are the lab's; else nothing."""
    if is_ours(aws, from_list(tags)):
        yield Leftover(kind, identity)


def if_existing(resource: AwsResource) -> Iterator[Leftover]:
    """A leftover where this resource exists and is the lab's; else nothing."""
    if resource.exists() and resource.ours():
        yield Leftover(resource.kind, resource.name)


def tagged(
    aws: Aws, kind: str, operation: str, items: str, identity: str, *filters: Any, command: str = "llmlab teardown", **arguments: Any
) -> Iterator[Leftover]:
    """Everything with the lab's tags that an operation of EC2 describes: `items` and `identity` are the list and the id in its answer.

    In `command`, {id} and {region} are filled in.
    """
    for item in every(aws.client("ec2"), operation, items, Filters=[*tag_filters(aws.names.tags), *filters], **arguments):
        state = item.get("State")
        if not isinstance(state, str) or state.lower() not in GONE:
            yield Leftover(kind, item[identity], command=command.format(id=item[identity], region=aws.region))


def to_list(tags: Mapping[str, str]) -> list[Any]:
    return [{"Key": str(key), "Value": value} for key, value in tags.items()]


def from_list(tags: Sequence[Any]) -> dict[str, str]:
    """Tags from either spelling that AWS uses."""
    return {tag.get("Key", tag.get("TagKey", tag.get("key"))): tag.get("Value", tag.get("TagValue", tag.get("value"))) for tag in tags}
