"""What a row of the table is, and the call that it looks at."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from llmlab.sandbox.completion import kept
from llmlab.sandbox.completion_lambda import now


class On(StrEnum):
    """When a rule holds."""

    ALWAYS = "always"
    NAMED = "by name"
    NEW_ACCOUNT = "new-account"
    """In the mode of that name, and by name."""


class Until(StrEnum):
    """What gets past a rule."""

    REQUEST = "another request"
    WAITING = "waiting"
    OWNER = "a mend in the account"
    SUPPLY = "another pool"


@dataclass(frozen=True)
class Call:
    """One call as a rule sees it: its operation as `ec2:RunInstances`, its parameters, and where it came in."""

    operation: str
    values: dict[str, Any]
    account: str
    region: str
    response: Any = None
    """Moto's response object, which is answering."""
    amount: float = 0.0
    """The rule's own: a number of calls or of seconds."""
    rule: str = ""

    def backend(self, service: str) -> Any:
        """Moto's backend of a service, in the call's account and region; of a global service the one of the partition."""
        from moto.backends import get_backend

        backends: Any = get_backend(service)  # type: ignore[arg-type,unused-ignore]
        of_account = backends[self.account]
        return of_account[self.region if self.region in of_account.regions else "aws"]

    def state(self, name: str = "") -> dict[Any, Any]:
        """What a rule remembers of the account, until moto is reset."""
        from moto.iam.models import iam_backends

        return kept(iam_backends[self.account]["aws"], f"rule_{self.rule or self.operation}_{name}")

    def remember(self, event: str, resource: str) -> None:
        """Something has happened to a thing of this region now: deleted, made."""
        _remembered(self.account)[event, self.region, resource] = now()

    def happened(self, event: str, resource: str) -> datetime | None:
        """When it did, if it is remembered."""
        return _remembered(self.account).get((event, self.region, resource))

    def forget(self, event: str, resource: str) -> None:
        _remembered(self.account).pop((event, self.region, resource), None)

    def among_first(self, key: str = "") -> bool:
        """Whether this is one of the first `amount` calls that the rule met, with `key` where things are counted apart."""
        counted = self.state("calls")
        counted[key] = counted.get(key, 0) + 1
        return bool(counted[key] <= self.amount)

    def begun(self, key: str = "") -> bool:
        """Whether less than `amount` seconds have passed since the rule was met first, with `key` where things are counted apart."""
        return self.young(self.state("begun").setdefault(key, now()))

    def young(self, moment: datetime | None, seconds: float | None = None) -> bool:
        """Whether less than `seconds` (the rule's amount by default) have passed since then, on the sandbox's clock."""
        return moment is not None and now() - moment < timedelta(seconds=self.amount if seconds is None else seconds)

    @property
    def spot(self) -> bool:
        """Whether a launch makes a spot request."""
        return bool(self.values.get("InstanceMarketOptions", {}).get("MarketType") == "spot")


def _remembered(account: str) -> dict[Any, datetime]:
    from moto.iam.models import iam_backends

    return kept(iam_backends[account]["aws"], "remembered")


Applies = Callable[[Call], "Mapping[str, object] | bool"]
"""True, or what the sentence's fields are, where the call meets the rule."""
Alters = Callable[[Call, Any], Any]
"""The call and moto's answer → what AWS answers."""
Answers = Callable[[Call], dict[str, Any]]


@dataclass(frozen=True)
class Rule:
    """A row: what AWS answers otherwise than moto, and when."""

    name: str
    operations: tuple[str, ...]
    when: str
    code: str
    """AWS's error code; "" where the answer is no error but another one, which `message` describes."""
    message: str
    source: str
    applies: Applies | None = None
    status: int = 0
    """The HTTP status, where it is another than the service model's."""
    on: On = On.ALWAYS
    until: Until = Until.REQUEST
    amount: float = 0.0
    """How many calls or seconds a rule of a season lasts, unless whoever turns it on says another number."""
    each_launch: bool = False
    carried_out: bool = False
    """AWS does what was asked, and this is the answer nevertheless."""
    alters: Alters | None = None
    answers: Answers | None = None
    """AWS's answer, where moto is not to answer at all."""
