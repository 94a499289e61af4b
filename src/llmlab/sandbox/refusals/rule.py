"""The data classes of the refusals table: `Rule`, one row, and `Call`, the call that it is evaluated for."""

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
    """The rule holds in the mode of that name, and when named."""


class Until(StrEnum):
    """What a caller can do to get past a rule."""

    REQUEST = "another request"
    WAITING = "waiting"
    OWNER = "a mend in the account"
    SUPPLY = "another pool"


@dataclass(frozen=True)
class Call:
    """One call as a rule sees it: its operation such as `ec2:RunInstances`, its parameters, account and region."""

    operation: str
    values: dict[str, Any]
    account: str
    region: str
    response: Any = None
    """Moto's response object that answers the call."""
    amount: float = 0.0
    """The rule's amount: a number of calls or of seconds."""
    rule: str = ""

    def backend(self, service: str) -> Any:
        """Moto's backend of a service in the call's account and region; for a global service that of the partition."""
        from moto.backends import get_backend

        backends: Any = get_backend(service)  # type: ignore[arg-type,unused-ignore]
        of_account = backends[self.account]
        return of_account[self.region if self.region in of_account.regions else "aws"]

    def state(self, name: str = "") -> dict[Any, Any]:
        """The rule's own state for the account, until moto is reset."""
        from moto.iam.models import iam_backends

        return kept(iam_backends[self.account]["aws"], f"rule_{self.rule or self.operation}_{name}")

    def remember(self, event: str, resource: str) -> None:
        """Record the current time for an event (such as a deletion) of a resource in this region."""
        _remembered(self.account)[event, self.region, resource] = now()

    def happened(self, event: str, resource: str) -> datetime | None:
        """When an event of a resource was recorded, or None."""
        return _remembered(self.account).get((event, self.region, resource))

    def forget(self, event: str, resource: str) -> None:
        _remembered(self.account).pop((event, self.region, resource), None)

    def among_first(self, key: str = "") -> bool:
        """Whether this is one of the first `amount` calls that met the rule, counted separately for each `key`."""
        counted = self.state("calls")
        counted[key] = counted.get(key, 0) + 1
        return bool(counted[key] <= self.amount)

    def begun(self, key: str = "") -> bool:
        """Whether less than `amount` seconds have passed since the rule was first met, separately for each `key`."""
        return self.young(self.state("begun").setdefault(key, now()))

    def young(self, moment: datetime | None, seconds: float | None = None) -> bool:
        """Whether less than `seconds` (by default the rule's amount) have passed since a moment, on the sandbox's clock."""
        return moment is not None and now() - moment < timedelta(seconds=self.amount if seconds is None else seconds)

    @property
    def spot(self) -> bool:
        """Whether a launch makes a spot request."""
        return bool(self.values.get("InstanceMarketOptions", {}).get("MarketType") == "spot")


def _remembered(account: str) -> dict[Any, datetime]:
    from moto.iam.models import iam_backends

    return kept(iam_backends[account]["aws"], "remembered")


Applies = Callable[[Call], "Mapping[str, object] | bool"]
"""True, or the values of the message's fields, where the call meets the rule."""
Alters = Callable[[Call, Any], Any]
"""Function of the call and moto's answer that returns AWS's answer."""
Answers = Callable[[Call], dict[str, Any]]


@dataclass(frozen=True)
class Rule:
    """One row of the table: a condition under which AWS answers otherwise than moto, and its answer."""

    name: str
    operations: tuple[str, ...]
    when: str
    code: str
    """AWS's error code; "" where the answer is no error but a different result, which `message` describes."""
    message: str
    source: str
    applies: Applies | None = None
    status: int = 0
    """The HTTP status, where it differs from the service model's; 0 otherwise."""
    on: On = On.ALWAYS
    until: Until = Until.REQUEST
    amount: float = 0.0
    """How many calls or seconds a temporary rule lasts, unless another number is given when it is turned on."""
    each_launch: bool = False
    carried_out: bool = False
    """AWS carries the call out, and answers with this error nevertheless."""
    alters: Alters | None = None
    answers: Answers | None = None
    """AWS's answer, where moto must not be called at all."""
