"""Run ids, the streams of their logs, and the keys of what a run leaves in the outputs bucket."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from llmlab.contract.names import LogStream
from llmlab.contract.states import EndReason, Notice

RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-z]{4}")


def build_run_id(moment: datetime, suffix: str) -> str:
    """`YYYYMMDD-HHMMSS-xxxx` in UTC; sorts by time."""
    return parse_run_id(f"{moment.astimezone(UTC):%Y%m%d-%H%M%S}-{suffix}")


def parse_run_id(text: str) -> str:
    if not RUN_ID.fullmatch(text):
        msg = f"not a run id: {text}"
        raise ValueError(msg)
    return text


def run_started(run: str) -> datetime:
    """The time at which a run id was created, in UTC."""
    return datetime.strptime(run[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)


def log_stream_name(run: str, attempt: int) -> str:
    return f"{run}/{attempt}"


def parse_log_stream_name(name: str) -> tuple[str, int]:
    run, _, attempt = name.partition("/")
    return parse_run_id(run), int(attempt)


DATASETS = "datasets/"
MODELS = "models/"
GPU_CHECK = "llmlab-gpu-check"
"""The name of the dataset and the model that `doctor --gpu` trains."""
RUNS = "runs/"
ENDED = "ended/"
"""An empty object `ended/<run>/<end reason>` follows each marker, so that one listing shows how a thousand runs ended. The watchdog writes
it at its next call, and the command line for runs that it marks itself; instances may not."""
FAILED_EVENTS = "aws/lambda/async/"
"""Where Lambda keeps the events that failed for good: one object each, without a mail for each.
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"""

MANIFEST = "manifest.json"
COMPLETE = "COMPLETE"
CHECKPOINT_STATE = "state.json"
"""In the folder of a checkpoint: the state of the training, a `CheckpointState` and more."""
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"


def dataset_prefix(name: str) -> str:
    """Files of a dataset lie at `<prefix><relative path>`, its manifest, written last, at `<prefix>manifest.json`."""
    return f"{DATASETS}{name}/"


def model_prefix(name: str) -> str:
    return f"{MODELS}{name}/"


@dataclass(frozen=True)
class RunKeys:
    """The keys of one run in the outputs bucket."""

    run: str

    @property
    def prefix(self) -> str:
        return f"{RUNS}{self.run}/"

    @property
    def spec(self) -> str:
        return self.prefix + "spec.json"

    @property
    def status(self) -> str:
        return self.prefix + "status.json"

    @property
    def success(self) -> str:
        return self.prefix + SUCCESS

    @property
    def failure(self) -> str:
        return self.prefix + FAILURE

    @property
    def stop(self) -> str:
        """Written by `llmlab stop`; the agent polls it."""
        return self.prefix + "stop.json"

    @property
    def checkpoints(self) -> str:
        return self.prefix + "checkpoints/"

    @property
    def output(self) -> str:
        return self.prefix + "output/"

    @property
    def logs(self) -> str:
        return self.prefix + "logs/"

    @property
    def attempts(self) -> str:
        return self.prefix + "attempts/"

    def attempt(self, number: int) -> str:
        """The claim of an attempt: written once, with If-None-Match, by whoever starts it."""
        return f"{self.attempts}{number}.json"

    def attempt_end(self, number: int | Literal["*"]) -> str:
        """How an attempt ended: written once, by the agent or the watchdog. "*": of any, in a policy."""
        return f"{self.attempts}{number}.end.json"

    def notified(self, number: int, notice: Notice) -> str:
        """Written once by the watchdog after it has published a notice to the topic."""
        return f"{self.attempts}{number}.told-{notice}.json"

    def notifying(self, number: int, notice: Notice) -> str:
        """Claim of the call of the watchdog that is about to publish a notice, so that no other call does."""
        return f"{self.attempts}{number}.telling-{notice}.json"

    def checkpoint(self, step: int) -> str:
        return f"{self.checkpoints}{checkpoint_name(step)}/"

    def log(self, stream: LogStream, attempt: int) -> str:
        return f"{self.logs}{attempt}/{stream}.log"

    def ended(self, reason: EndReason) -> str:
        return f"{ENDED}{self.run}/{reason}"


def parse_attempt(key: str) -> tuple[int, str]:
    """The inverse of `RunKeys.attempt` ("claim"), `attempt_end` ("end"), `notified` ("told-" and the notice) and `notifying` ("telling-").

    0 and "other" for every other key.
    """
    match = re.search(rf"/attempts/([0-9]{{1,9}})(?:\.(end|(?:told|telling)-(?:{'|'.join(Notice)})))?\.json\Z", key)
    return (int(match[1]), match[2] or "claim") if match else (0, "other")


def parse_ended(key: str) -> tuple[str, EndReason]:
    """The inverse of `RunKeys.ended`."""
    _, run, reason = key.split("/")
    return parse_run_id(run), EndReason(reason)


def checkpoint_name(step: int) -> str:
    return f"checkpoint-{step}"


def parse_checkpoint_name(name: str) -> int | None:
    """The step of a checkpoint folder, or None for any other name."""
    match = re.fullmatch(r"checkpoint-([0-9]{1,12})", name)
    return int(match[1]) if match else None
