"""What all AWS resources of the lab have in common: the tags that say whose they are, and how EC2's are found by them."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llmlab.aws import network_guests
from llmlab.aws.patience import IN_USE, patiently
from llmlab.aws.session import Aws, AwsError, NotFound
from llmlab.clock import Clock, SystemClock, wait_until
from llmlab.contract import Names, Tag
from llmlab.errors import LabError
from llmlab.infra.resource import Resource

T = TypeVar("T")
TRIES = 5
"""As often as botocore's own retries ask."""
LINGER_SECONDS = 600
"""How long what hangs on a network may take to go: GPU machines take minutes to give their network interfaces back."""
SHOWN_SECONDS = 120
"""How long EC2 may take to show what it has made to who looks for its tags.
https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html"""


@dataclass(frozen=True, kw_only=True)
class AwsResource(Resource):
    """A resource of one account and region. `clock` is for the few waits AWS asks for."""

    aws: Aws = field(repr=False, compare=False)
    clock: Clock = field(default_factory=SystemClock, repr=False, compare=False)

    @property
    def names(self) -> Names:
        return self.aws.names

    @abstractmethod
    def tags(self) -> Mapping[str, str]:
        """The tags of what exists under this name."""

    def ours(self) -> bool:
        tags = self.tags()
        return all(tags.get(key) == value for key, value in self.names.tags.items())

    def wait(self, check: Callable[[], bool], awaited: str, *, seconds: float = 120, every: float = 2, in_a_row: int = 1) -> None:
        """Until `check` holds, or a `LabError` that says what was awaited."""
        if not wait_until(check, self.clock, limit_seconds=seconds, every_seconds=every, in_a_row=in_a_row):
            raise LabError(f"{self.key}: {awaited} did not happen within {seconds:.0f} seconds", "llmlab bootstrap")

    def persist(self, call: Callable[[], object], passing: Sequence[str], awaited: str, *, seconds: float = 120, every: float = 5) -> None:
        """Repeat a call while AWS refuses it with one of `passing`: IAM takes a while to be seen by other services."""
        patiently(
            call, self.clock, passing=passing, awaited=f"{self.key}: {awaited}", hint="llmlab bootstrap", seconds=seconds, every=every
        )


@dataclass(frozen=True, kw_only=True)
class Ec2Resource(AwsResource):
    """A thing of EC2 that has no name of its own: it is found by its tags, so what is found is ours."""

    seen: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What the last `find` saw, so that resources that point here need no call of their own."""

    @abstractmethod
    def found(self) -> Sequence[Mapping[str, Any]]:
        """EC2's descriptions of all that are there now: more than one, where two bootstraps ran at once."""

    def find(self) -> Mapping[str, Any] | None:
        """The one.

        Raises:
            LabError: there are several.
        """
        return self.only(self.found())

    @abstractmethod
    def id_of(self, description: Mapping[str, Any]) -> str: ...

    def look(self) -> Mapping[str, Any] | None:
        """`find`, remembered."""
        description = self.find()
        self.seen["description"] = description
        return description

    def need(self) -> Mapping[str, Any]:
        """As EC2 describes it now.

        Raises:
            NotFound: there is none.
        """
        description = self.look()
        if description is None:
            raise NotFound(f"there is no {self.key}", "llmlab bootstrap")
        return description

    def exists(self) -> bool:
        return bool(self.found())

    def create_alone(self, create: Callable[[Any], Any], discard: Callable[[str], object]) -> None:
        """Create what EC2 would make a second time without complaint: with `create`, which is handed EC2 without its retries.

        A call without an answer may have taken effect, so it is looked for before it is asked for again. What was made is waited for, and
        one that an earlier call made is shown by then. Where another bootstrap made one at the same time, each `discard`s its own and
        looks again after some seconds of its own: by the random id that EC2 gave.
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
                if {self.id_of(description) for description in self.found()} <= {mine}:
                    return
                discard(mine)
                self.clock.sleep(int(mine[-2:], 16) % 16)
            if self.exists():
                return
        raise LabError(f"{self.key}: others make it at the same time", "llmlab bootstrap")

    def await_shown(self, identity: str) -> None:
        """Until EC2 shows what it has just made: whoever needs it looks for it by its tags.

        Raises:
            LabError: it does not.
        """
        self.wait(
            lambda: identity in {self.id_of(description) for description in self.found()}, "EC2 showing it", seconds=SHOWN_SECONDS, every=1
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
        """Repeat a deletion while EC2 says that something still hangs on it: network interfaces linger after "terminated".

        Who is in the way is told; at once, where nobody will take it away by itself. `alone` is for the VPC, in which nothing may be left.
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
        descriptions = self.found()
        return from_list(descriptions[0].get("Tags", [])) if descriptions else {}

    @property
    def filters(self) -> list[Any]:
        """By our three tags."""
        tags = {**self.names.tags, Tag.NAME: self.name}
        return [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]

    def specification(self, resource_type: str) -> list[Any]:
        """TagSpecifications for the creating call."""
        return [{"ResourceType": resource_type, "Tags": to_list({**self.names.tags, Tag.NAME: self.name})}]

    def only(self, descriptions: Sequence[T]) -> T | None:
        """The one; two mean that two bootstraps ran at once."""
        if len(descriptions) > 1:
            raise LabError(f"there are {len(descriptions)} of {self.key}, and the lab needs one", "llmlab teardown")
        return descriptions[0] if descriptions else None


def to_list(tags: Mapping[str, str]) -> list[Any]:
    return [{"Key": str(key), "Value": value} for key, value in tags.items()]


def from_list(tags: Sequence[Any]) -> dict[str, str]:
    """Tags from either spelling that AWS uses."""
    return {tag.get("Key", tag.get("TagKey", tag.get("key"))): tag.get("Value", tag.get("TagValue", tag.get("value"))) for tag in tags}
