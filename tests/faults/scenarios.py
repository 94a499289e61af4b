"""Commands that are broken at every call: what each needs before, what a user does afterwards, and its law."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmlab import contract
from llmlab.clock import ManualClock
from llmlab.contract import EndReason
from llmlab.watchdog import events
from tests.cli.conftest import Result
from tests.faults import before, laws
from tests.faults.before import BOOTSTRAP, LAUNCH, TEARDOWN, the_run
from tests.faults.keeper import Command, Outcome
from tests.faults.stage import Stage
from tests.faults.ways import Way


@dataclass(frozen=True)
class Scenario:
    """`law` must hold once the command was run again, whatever broke it the first time."""

    name: str
    prepare: Callable[[Stage], None]
    command: Callable[[Stage], Command]
    law: Callable[[Stage, Outcome, Way], None]
    again: Callable[[Stage, Outcome, Way], None] | None = None
    speaks: bool = True
    """Whether it is a command line, whose error is one sentence and a hint."""


def type_again(scenario: Scenario, stage: Stage, first: Outcome, way: Way) -> None:
    """What a user does after an error: the same line once more, which must do it."""
    stage.do(scenario.command(stage))


def event_again(stage: Stage, first: Outcome, event: dict[str, Any]) -> None:
    """Lambda tries a failed function twice more, after a minute and after two; a killed one too. Then sweeps, and what rings by then."""
    if first.killed or first.result[0].code:
        for seconds in (60, 120):
            stage.clock.sleep(seconds)
            (outcome,) = stage.keeper.run(stage.woken(event))
            assert outcome.result[0].code == 0, outcome.result[0].err
    for _ in range(3):
        stage.clock.sleep(3600)
        stage.do(stage.woken({"sweep": True}))
    stage.ring()


def its_event(stage: Stage) -> dict[str, Any]:
    found = stage.eyes.ec2.describe_instances()["Reservations"][-1]["Instances"][0]["InstanceId"]
    return {"detail-type": events.STATE_CHANGE, "detail": {"instance-id": found, "state": "terminated"}}


def warning(stage: Stage) -> dict[str, Any]:
    return {**its_event(stage), "detail-type": events.WARNING}


def watchdog(
    name: str, prepare: Callable[[Stage], None], event: Callable[[Stage], dict[str, Any]], law: Callable[[Stage, Outcome, Way], None]
) -> Scenario:
    return Scenario(
        f"watchdog: {name}",
        prepare,
        lambda stage: stage.woken(event(stage)),
        law,
        lambda stage, first, way: event_again(stage, first, event(stage)),
        speaks=False,
    )


def launch_again(stage: Stage, first: Outcome, way: Way) -> None:
    """After an error the same line; nothing is left of the first, or it says how to end what is."""
    if not first.killed and first.result[0].code and "may be left" in first.result[0].err:
        stage.do(stage.typed(*first.result[0].hint.split()[1:], "--now"))
    if first.killed or first.result[0].code:
        stage.do(stage.typed(*LAUNCH))


def resume_again(stage: Stage, first: Outcome, way: Way) -> None:
    """The same line; where an instance may be left, or is, the error names the way: stop, then the same line."""
    if not first.killed and not first.result[0].code:
        return
    line = ("resume", "--yes", the_run(stage), "--max-hours", "6")
    (second,) = stage.keeper.run(stage.typed(*line))
    result, clock = second.result
    stage.clock.time = clock.time
    if result.code:
        assert "llmlab stop" in result.hint, result.err
        stage.do(stage.typed("stop", the_run(stage), "--now"))
        stage.do(stage.typed(*line))


def stop_again(stage: Stage, _first: Outcome, _way: Way) -> None:
    stage.do(stage.typed("stop", the_run(stage), "--now"))


def image_push(stage: Stage) -> Command:
    """With the stand-in for docker in front of any other."""
    push = stage.typed("image", "push")

    def command() -> tuple[Result, ManualClock]:
        os.environ["PATH"] = f"{stage.folder / 'bin'}:{os.environ['PATH']}"
        return push()  # type: ignore[no-any-return]

    return command


SCENARIOS = (
    Scenario("bootstrap", before.nothing, lambda stage: stage.typed(*BOOTSTRAP), laws.whole_lab),
    Scenario(
        "upload", before.dataset, lambda stage: stage.typed("upload", "data"),
        laws.whole_upload(contract.dataset_prefix("data"), "data"),
    ),
    Scenario(
        "upload --model", before.model, lambda stage: stage.typed("upload", "model", "--model", "tiny"),
        laws.whole_upload(contract.model_prefix("tiny"), "model"),
    ),
    Scenario("secret set", before.lab, lambda stage: before.secret(stage, "hf_new"), laws.secret_is("hf_new")),
    Scenario("secret set, again", before.with_a_secret, lambda stage: before.secret(stage, "hf_new"), laws.secret_is("hf_new")),
    Scenario("image push", before.with_docker, image_push, laws.pushed),
    Scenario("launch", before.ready, lambda stage: stage.typed(*LAUNCH), laws.one_launch, launch_again),
    Scenario("stop --now", before.running, lambda stage: stage.typed("stop", the_run(stage), "--now"), laws.one_stop, stop_again),
    Scenario("stop", before.with_an_agent, lambda stage: stage.typed("stop", the_run(stage)), laws.saved_stop),
    Scenario(
        "resume", before.stopped, lambda stage: stage.typed("resume", "--yes", the_run(stage), "--max-hours", "6"),
        laws.one_resume, resume_again,
    ),
    Scenario("fetch", before.finished, lambda stage: stage.typed("fetch", "latest"), laws.whole_fetch),
    Scenario("teardown", before.with_a_secret, lambda stage: stage.typed("teardown", "--yes"), laws.nothing_left),
    Scenario("teardown --everything", before.with_a_secret, lambda stage: stage.typed(*TEARDOWN), laws.nothing_left),
    watchdog("interruption", before.interrupted, its_event, laws.lives_on),
    watchdog("warning", before.checkpointed, warning, lambda stage, first, way: laws.owned(stage, the_run(stage))),
    watchdog("sweep", before.interrupted, lambda _stage: {"sweep": True}, laws.lives_on),
    watchdog("mark", before.failed, its_event, laws.has_ended(EndReason.TRAINING_ERROR)),
    watchdog("overdue", before.overdue, lambda _stage: {"sweep": True}, laws.has_ended(EndReason.TIMED_OUT)),
)  # fmt: skip
