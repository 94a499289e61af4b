"""EC2 instances that terminate before they run: pending, then terminated, with the reason only in StateReason."""

from collections.abc import Callable
from typing import Any

from llmlab.sandbox.refusals.ec2_launch import GUIDE, LAUNCH
from llmlab.sandbox.refusals.rule import Alters, Call, On, Rule, Until


def ending(code: str, message: str) -> Alters:
    """Mark each instance of a launch to terminate before it runs: at its boot, or without a machine room at the next DescribeInstances."""

    def mark(call: Call, result: Any) -> Any:
        for instance in result.result.instances:
            vars(instance)["_llmlab_ends"] = (code, message)
        return result

    return mark


def _end(call: Call) -> bool:
    """Terminate marked instances where there is no machine room to do it. It never applies: moto answers."""
    from moto.ec2.models.instances import StateReason

    from llmlab.sandbox.completion_compute import LAUNCHED

    for instance in call.backend("ec2").all_instances():
        reason = vars(instance).get("_llmlab_ends")
        if reason and not LAUNCHED and instance.state != "terminated":
            instance.terminate()
            instance.state_reason, instance._reason = StateReason(reason[1], reason[0]), reason[1]
    return False


def _row(
    name: str, when: str, code: str, message: str, source: str, until: Until, applies: Callable[[Call], bool] = lambda _: True
) -> Rule:
    return Rule(
        name=name,
        operations=LAUNCH,
        when=when,
        code="",
        message=f"the instance is pending, then terminated with the StateReason {code}: {message}",
        source=source,
        applies=applies,
        alters=ending(code, message),
        each_launch=True,
        on=On.NAMED,
        until=until,
        amount=30,
    )


TROUBLE = f"{GUIDE}troubleshooting-launch.html"
ROWS = (
    Rule(
        name="reason-of-an-end-before-it-ran",
        operations=("ec2:DescribeInstances",),
        when="an instance ended while it was pending",
        code="",
        message="its State is terminated, and StateReason holds the code and the sentence",
        source=TROUBLE,
        applies=_end,
    ),
    _row(
        "disk-cannot-be-decrypted",
        "the disk's key does not let EC2 or the spot service use it",
        "Client.InternalError",
        "Client.InternalError: Client error on launch",
        "https://github.com/aws/karpenter-provider-aws/issues/1407",
        Until.OWNER,
    ),
    _row(
        "volume-limit",
        "the account's volumes would exceed their quota",
        "Client.VolumeLimitExceeded",
        "Client.VolumeLimitExceeded: Volume limit exceeded",
        TROUBLE,
        Until.OWNER,
    ),
    _row(
        "internal-error-on-launch",
        "something of EC2's own fails, for the first instances",
        "Server.InternalError",
        "Server.InternalError: Internal error on launch",
        TROUBLE,
        Until.WAITING,
        lambda call: call.begun(),
    ),
)
