"""Diagnoses how a training ended: an end reason and a sentence, from everything that is known about it."""

import re
from dataclasses import dataclass, field

from llmlab.agent.gpu import HARDWARE_XIDS
from llmlab.agent.s3_store import DENIED
from llmlab.contract import EndReason, LogStream, Outcome, StopRequest, TrainerExit, hints

DETAIL_LENGTH = 400
ANY_RUN = "20260101-000000-abcd"
MOST_WORDS = 1000
"""Characters of a trainer's own message about its end."""
SEARCHED_CHARACTERS = 100_000
"""Characters searched at the end of the training log: the process that failed first speaks before the others."""
HARDWARE = re.compile(
    r"uncorrectable ECC error encountered|uncorrectable NVLink error detected|Invalid access of peer GPU memory over nvlink"
    r" or a hardware error|GPU is lost|fallen off the bus|system not yet initialized|NVRM: Xid [^\n]*: "
    rf"(?:{'|'.join(map(str, HARDWARE_XIDS))}),"
)
"""What CUDA (errors 214, 220, 721 and 802), NVML and the driver say when the machine is at fault and another one may do.
https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html
https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html"""


@dataclass(frozen=True)
class TrainingExit:
    """What the host saw: the container's exit code, and whether the kernel killed it for memory."""

    code: int
    killed_for_memory: bool = False

    @staticmethod
    def parse(text: str) -> "TrainingExit | None":
        """The content of the `training_exit` file; None while it is not there or not whole."""
        match = re.fullmatch(r"(-?[0-9]{1,9}) (true|false)\s*", text)
        return TrainingExit(int(match[1]), match[2] == "true") if match else None


@dataclass(frozen=True)
class ExitDiagnosis:
    reason: EndReason
    detail: str = ""
    hint_code: str = ""
    hint_values: dict[str, str] = field(default_factory=dict)


def diagnose(
    end: TrainingExit | None, request: StopRequest | None, outcome: Outcome | None, log: str = "", fault: str = ""
) -> ExitDiagnosis:
    """Diagnose the end of a training. `end` is None when the trainer had not left in time, `fault` what is wrong with a GPU.

    A request explains any end but success: a trainer that dies on its way out was still stopped by the user. Without one, a failed GPU
    explains any error; else the trainer's own word counts as long as its exit code does not contradict it.
    """
    if end is not None and end.code == TrainerExit.COMPLETED:
        return ExitDiagnosis(EndReason.COMPLETED, outcome.detail[:MOST_WORDS] if outcome else "")
    if request is not None:
        broken = bool(fault) and request.reason is EndReason.STALLED
        return ExitDiagnosis(
            EndReason.HARDWARE_FAILED if broken else request.reason,
            _sentence(request.detail, fault if broken else "", _how_it_left(end, outcome)),
        )
    if end is None:
        return ExitDiagnosis(EndReason.TRAINING_ERROR, "the trainer did not end")
    diagnosis = _own_words(end, outcome, last_words(log))
    if diagnosis.reason is EndReason.TRAINING_ERROR and (says := fault or _hardware(outcome, log)):
        return ExitDiagnosis(EndReason.HARDWARE_FAILED, _sentence(says, diagnosis.detail))
    return diagnosis


def not_uploaded(says: str, code: str) -> ExitDiagnosis:
    """The diagnosis of a training that ended well without its output in S3. What S3 has refused, it refuses to any other machine too."""
    if not says:
        return ExitDiagnosis(EndReason.INSTANCE_LOST, "the training ended well, but its output could not be uploaded in time")
    hint = ("bootstrap_plan", {}) if code in DENIED else ("logs", {"stream": str(LogStream.AGENT)})
    return ExitDiagnosis(EndReason.TRAINING_ERROR, f"the training ended well, but S3 refuses its output: {says}", *hint)


def _how_it_left(end: TrainingExit | None, outcome: Outcome | None) -> str:
    """How a trainer that was asked to stop has left, in words."""
    if end is None:
        return "the trainer did not save in time, earlier checkpoints count"
    if end.code == TrainerExit.STOPPED_ON_REQUEST:
        return outcome.detail[:MOST_WORDS] if outcome else ""
    return f"the trainer ended with exit code {end.code} before it had saved, earlier checkpoints count"


def _own_words(end: TrainingExit, outcome: Outcome | None, last: str) -> ExitDiagnosis:
    """The end of a trainer that nobody had asked to leave."""
    reason = TrainerExit.reason(end.code, killed_for_memory=end.killed_for_memory)
    if end.killed_for_memory:
        return ExitDiagnosis(reason, "the machine ran out of memory and killed the trainer")
    if outcome is not None and outcome.reason.state is reason.state:
        known = bool(hints.render(outcome.hint_code, outcome.hint_values, ANY_RUN))
        hint = (outcome.hint_code, outcome.hint_values) if known else ("", {})
        return ExitDiagnosis(outcome.reason, outcome.detail[:MOST_WORDS], *hint)
    if end.code > 128:
        return ExitDiagnosis(reason, f"the trainer was killed by signal {end.code - 128}")
    return ExitDiagnosis(reason, last or f"the trainer ended with exit code {end.code}")


def _hardware(outcome: Outcome | None, log: str) -> str:
    """The words that blame the hardware, "" when there are none."""
    match = HARDWARE.search(outcome.detail if outcome else "") or HARDWARE.search(log[-SEARCHED_CHARACTERS:])
    return match[0].rstrip(",") if match else ""


def _sentence(*parts: str) -> str:
    """What there is to say, each thing once."""
    distinct: list[str] = []
    for part in parts:
        if part and not any(part in earlier for earlier in distinct):
            distinct.append(part)
    return "; ".join(distinct)


def last_words(log: str) -> str:
    """The last line of a log that says something, as the detail of a marker."""
    lines = [line.strip() for line in log.splitlines()]
    return next((line.rstrip(".")[:DETAIL_LENGTH] for line in reversed(lines) if line), "")
