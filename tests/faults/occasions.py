"""What happens to runs, step by step, and the event of each step that the watchdog's function hears of."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from llmlab import contract
from llmlab.contract import AttemptEnd, DataFile, EndReason, Marker, RunKeys
from llmlab.sandbox import market
from llmlab.watchdog import events
from tests.conftest import REGION
from tests.faults import before
from tests.faults.before import the_run
from tests.faults.keeper import Outcome
from tests.faults.stage import Stage, tags
from tests.faults.ways import Way

Event = dict[str, Any]
SWEEP: Event = {"sweep": True}
HOUR_SECONDS = 3600


@dataclass(frozen=True)
class Step:
    """Something happens, after `seconds`, and an event tells of it. `answers`: not before the event of the step before it was heard."""

    happens: Callable[[Stage], None]
    event: Callable[[Stage], Event]
    answers: bool = False
    seconds: int = 120


@dataclass(frozen=True)
class Occasion:
    """A run, what happens to it until it is over, and how it ends."""

    name: str
    prepare: Callable[[Stage], None]
    steps: tuple[Step, ...]
    reason: EndReason


# ---------------------------------------------------------------- events


def of_instance(kind: str, number: int, state: str = "") -> Callable[[Stage], Event]:
    """EC2's event of the instance of attempt `number`."""

    def build(stage: Stage) -> Event:
        detail = {"instance-id": instance(stage, number), **({"state": state} if state else {})}
        return {"detail-type": kind, "time": contract.build_timestamp(stage.clock.now()), "detail": detail}

    return build


def changed(state: str, number: int = 1) -> Callable[[Stage], Event]:
    return of_instance(events.STATE_CHANGE, number, state)


def wake(stage: Stage) -> Event:
    """Its alarm clock."""
    return {"wake": {"run": the_run(stage)}}


def deadline(stage: Stage) -> Event:
    """The schedule of its first attempt, not aimed at the instance yet."""
    return {"deadline": {"run": the_run(stage), "attempt": 1}}


def instance(stage: Stage, number: int) -> str:
    """The instance of an attempt, also one that is gone."""
    found = [one for reservation in stage.eyes.ec2.describe_instances()["Reservations"] for one in reservation["Instances"]]
    (identity,) = (one["InstanceId"] for one in found if tags(one).get("Attempt") == str(number))
    return str(identity)


# ---------------------------------------------------------------- what happens


def nothing(_stage: Stage) -> None:
    """Time passes."""


def taken(stage: Stage) -> None:
    """AWS takes the instance back."""
    before.end_instance(stage, "Server.SpotInstanceTermination")


def taken_for_all(stage: Stage) -> None:
    """AWS takes the instance back, and has no other."""
    market.refuse(REGION)
    taken(stage)


def there_is_one_again(_stage: Stage) -> None:
    market.allow(REGION)


def ended_by_hand(stage: Stage) -> None:
    """In the console."""
    before.end_instance(stage, "Client.UserInitiatedShutdown")


def broke(stage: Stage) -> None:
    """The trainer fails, and the agent writes how."""
    over(stage, 1, EndReason.TRAINING_ERROR)


def finished(number: int) -> Callable[[Stage], None]:
    """The trainer is through: an output, the marker, and the instance switches itself off."""

    def happens(stage: Stage) -> None:
        bucket, keys = stage.eyes.names.outputs_bucket, RunKeys(the_run(stage))
        body = b"weights"
        stage.eyes.s3.put_object(Bucket=bucket, Key=keys.output + "adapter/adapter_model.safetensors", Body=body)
        files = (DataFile("adapter/adapter_model.safetensors", len(body), hashlib.sha256(body).hexdigest()),)
        marker = Marker(keys.run, EndReason.COMPLETED, contract.build_timestamp(stage.clock.now()), number, step=20, files=files)
        stage.eyes.s3.put_object(Bucket=bucket, Key=keys.success, Body=contract.dump(marker).encode())
        over(stage, number, EndReason.COMPLETED)

    return happens


def over(stage: Stage, number: int, reason: EndReason) -> None:
    """The agent's word about an attempt, and the end of its instance."""
    end = AttemptEnd(the_run(stage), number, reason, contract.build_timestamp(stage.clock.now()), step=20)
    key = RunKeys(end.run).attempt_end(number)
    stage.eyes.s3.put_object(Bucket=stage.eyes.names.outputs_bucket, Key=key, Body=contract.dump(end).encode())
    before.end_instance(stage, "Client.InstanceInitiatedShutdown")


# ---------------------------------------------------------------- what is there before


def bounded(stage: Stage) -> None:
    """A run with a limit in dollars."""
    before.ready(stage)
    stage.do(stage.typed("launch", "--yes", "--spot", "--max-hours", "20", "--max-cost", "1"))
    stage.build_watchdog()


def cut_short(call: str, way: Way) -> Callable[[Stage], None]:
    """A launch that is killed at a call."""

    class Cut(Exception):
        """Here."""

    def held(name: str, here: Way, _outcome: Outcome) -> None:
        if name.startswith(call) and here is way:
            raise Cut

    def prepare(stage: Stage) -> None:
        before.ready(stage)
        with suppress(Cut):
            stage.keeper.run(stage.typed(*before.LAUNCH), held=held)
        stage.build_watchdog()

    return prepare


def stopped(stage: Stage) -> None:
    """A run that its user has stopped; nobody was told yet."""
    before.stopped(stage)
    stage.build_watchdog()


RUNS = Step(nothing, changed("running"))
GOES_ON = Step(nothing, changed("running", 2), answers=True)
FINISHED = Step(finished(2), changed("terminated", 2), answers=True, seconds=600)

OCCASIONS = (
    Occasion(
        "interruption",
        before.checkpointed,
        (
            RUNS,
            Step(nothing, of_instance(events.WARNING, 1), seconds=1800),
            Step(taken, changed("shutting-down")),
            Step(nothing, changed("terminated"), seconds=30),
            GOES_ON,
            FINISHED,
        ),
        EndReason.COMPLETED,
    ),
    Occasion(
        "no capacity",
        before.checkpointed,
        (
            Step(taken_for_all, changed("terminated")),
            Step(nothing, wake, answers=True, seconds=180),
            Step(there_is_one_again, wake, answers=True, seconds=1800),
            Step(finished(4), changed("terminated", 4), answers=True, seconds=600),
        ),
        EndReason.COMPLETED,
    ),
    Occasion("failed training", before.checkpointed, (RUNS, Step(broke, changed("terminated"))), EndReason.TRAINING_ERROR),
    Occasion("ended by hand", before.checkpointed, (RUNS, Step(ended_by_hand, changed("terminated"))), EndReason.STOPPED_BY_USER),
    Occasion("stopped", stopped, (Step(nothing, changed("terminated")), Step(nothing, wake)), EndReason.STOPPED_BY_USER),
    Occasion(
        "deadline",
        before.checkpointed,
        (RUNS, Step(nothing, deadline, seconds=6 * HOUR_SECONDS), Step(nothing, changed("terminated"), answers=True)),
        EndReason.TIMED_OUT,
    ),
    Occasion(
        "end of the money",
        bounded,
        (RUNS, Step(nothing, wake, seconds=5 * HOUR_SECONDS), Step(nothing, changed("terminated"), answers=True)),
        EndReason.COST_REACHED,
    ),
    Occasion("overdue", before.overdue, (Step(nothing, lambda _stage: SWEEP),), EndReason.TIMED_OUT),
    Occasion(
        "launch killed before its instance", cut_short("ec2:CreateFleet", Way.KILLED_BEFORE),
        (Step(nothing, deadline, seconds=6 * HOUR_SECONDS),), EndReason.INSTANCE_LOST,
    ),
    Occasion(
        "launch killed after its instance", cut_short("ec2:CreateFleet", Way.KILLED_AFTER),
        (RUNS, Step(nothing, wake, seconds=1200), Step(finished(1), changed("terminated"), answers=True)), EndReason.COMPLETED,
    ),
)  # fmt: skip
