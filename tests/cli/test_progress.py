"""One bar through a whole run, on a terminal of any width; lines where there is none."""

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from llmlab.aws.session import Aws
from llmlab.commands import progress, run_screens
from llmlab.contract import EndReason, RunState
from llmlab.ops.run_status import Run
from llmlab.ops.runs import detail
from llmlab.ui import Ui

from .conftest import CommandLine, Terminal
from .test_status import beat, finish, launch

RUN = "20261129-161107-wmru"


def run(phase: str, step: int = 0, state: RunState = RunState.RUNNING) -> Run:
    known = {"loss": 0.273, "cost": 0.0029, "eta_seconds": 24.0} if step else {}
    return Run(RUN, state, phase=phase, attempt=1, step=step, total_steps=150 if step else None, **known)  # type: ignore[arg-type]


LIFE = (
    run("", state=RunState.PENDING), run("", state=RunState.STARTING), run("preparing"), run("loading"), run("tokenizing"),
    run("training", 15), run("evaluating", 75), run("training", 149), run("uploading", 150), run("", 150, RunState.SUCCEEDED),
)  # fmt: skip


def test_a_bar_never_goes_back() -> None:
    shares = [progress.share(one) for one in LIFE]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert progress.line(LIFE[6]) == "━━━━━━━━━───────  57%  evaluating · 75/150 · loss 0.273 · $0.0029 · 24s left"
    assert len(progress.line(LIFE[6])) <= 80
    assert "· 75/150 · reward 0.500 · $0.0029" in progress.line(replace(LIFE[6], loss=0.0, reward=0.5))
    assert "step 75/150, loss 0.273, margin 1.250, " in run_screens.progress_line(replace(LIFE[6], margin=1.25))


def test_a_line_of_narrative_says_the_same_share() -> None:
    for one in LIFE:
        words = run_screens.progress_line(one)
        assert progress.share_of_words(words) == pytest.approx(progress.share(one)), words
    assert progress.share_of_words("no capacity: g4dn.xlarge") is None


def test_a_painted_line_is_cut_to_the_terminal_and_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in (40, 80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        screen = Terminal()
        with Ui(stderr=screen).painted() as paint:
            assert paint
            paint("x" * 200)
            paint("\x1b[31mred")
        first, second, last = screen.getvalue().split("\r\x1b[2K")[1:]
        assert (len(first), last) == (columns - 1, "")
        assert "\x1b" not in second
    with Ui(stderr=io.StringIO()).painted() as nothing:
        assert nothing is None
    with Ui(stderr=Terminal(), as_json=True).painted() as nothing:
        assert nothing is None


@pytest.mark.slow
def test_a_run_that_goes_on_has_its_bar_on_its_screen(ready: CommandLine, lab_aws: Aws) -> None:
    name, instance = launch(ready)
    beat(ready, lab_aws, name, instance)
    assert "progress    ━━━━━━━━━───────  57%  training" in ready("status", name).out


@pytest.mark.slow
def test_a_run_that_was_followed_ends_in_how_it_went_and_not_in_what_was_shown_before(ready: CommandLine, lab_aws: Aws) -> None:
    name, _ = launch(ready)
    finish(ready, lab_aws, name, EndReason.COMPLETED)
    facts = detail(lab_aws, name, ready.clock.now())

    def shown(parts: Iterator[Any]) -> list[str]:
        out = io.StringIO()
        for part in parts:
            Ui(stderr=out).tell(part)
        return [" ".join(line.split()) for line in out.getvalue().splitlines()]

    def heads(lines: list[str]) -> set[str]:
        return {line.split()[0] for line in lines if line}

    whole, end = shown(run_screens.one_run(facts, ready.clock.now())), shown(run_screens.ended(facts, ready.clock.now()))
    assert heads(whole) - heads(end) >= {
        "recipe",
        "data",
        "image",
        "machine",
        "attempt",
    }
    assert {"run", "state", "time", "cost", "ended"} <= heads(end)
    assert set(end) <= set(whole)
    (attempt,) = facts.attempts
    twice = replace(facts, attempts=(attempt, attempt))
    assert any(line.startswith("attempt") for line in shown(run_screens.ended(twice, ready.clock.now())))
