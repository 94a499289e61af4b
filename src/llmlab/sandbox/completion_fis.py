"""Fault Injection Service: an experiment that interrupts spot instances interrupts the sandbox's machines.

https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html#send-spot-instance-interruptions
"""

import re
from collections.abc import Callable
from typing import Any

from llmlab.sandbox.completion import answer

ACTION = "aws:ec2:send-spot-instance-interruptions"
INTERRUPT: list[Callable[[str, float], None]] = []
"""Callbacks with an instance id and the seconds of its notice: the machine room subscribes here."""


def install() -> None:
    """Patch moto's FIS."""
    from moto.fis.responses import FISResponse

    start = FISResponse.start_experiment

    def call(self: Any, values: dict[str, Any]) -> Any:
        result = start(self)
        template = self.fis_backend.get_experiment_template(values["experimentTemplateId"])
        _play(template)
        return result

    answer(FISResponse, "StartExperiment", call)


def _play(template: dict[str, Any]) -> None:
    for action in template["actions"].values():
        if action["actionId"] != ACTION:
            continue
        seconds = _seconds(action["parameters"]["durationBeforeInterruption"])
        for name in action["targets"].values():
            for arn in template["targets"][name].get("resourceArns", []):
                for interrupt in INTERRUPT:
                    interrupt(arn.rpartition("/")[2], seconds)


def _seconds(duration: str) -> float:
    """The seconds of an ISO 8601 duration such as PT2M."""
    hours, minutes, seconds = (float(part or 0) for part in re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?", duration).groups())  # type: ignore[union-attr]
    return 3600 * hours + 60 * minutes + seconds
