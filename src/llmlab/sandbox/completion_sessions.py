"""Systems Manager: the answer of StartSession, up to where the Session Manager plugin would take over.

https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_StartSession.html
"""

from secrets import token_hex
from typing import Any

from llmlab.sandbox.completion import answer
from llmlab.sandbox.refusals.checking import refused


def install() -> None:
    """Patch moto's SSM, which has no sessions."""
    from moto.ssm.responses import SimpleSystemManagerResponse

    answer(SimpleSystemManagerResponse, "StartSession", _start)


def _start(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    from moto.ec2.models import ec2_backends

    target = values["Target"]
    instances = {instance.id: instance for instance in ec2_backends[self.current_account][self.region].all_instances()}
    if target not in instances or instances[target].state != "running":
        raise refused("no-agent-answers", target=target)
    session = f"sandbox-{token_hex(9)}"
    stream = f"wss://ssmmessages.{self.region}.amazonaws.com/v1/data-channel/{session}?role=publish_subscribe"
    return {"SessionId": session, "TokenValue": token_hex(32), "StreamUrl": stream}
