"""Every call of a command, broken in every way: what came of each case."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from llmlab.aws.session import Aws
from tests.cli.conftest import Result
from tests.faults.line import Break, Line, Outcome, apart
from tests.faults.scenarios import TEARDOWN, Scenario, type_again
from tests.faults.stage import Stage, build
from tests.faults.ways import Way

LONGEST_MESSAGE = 500


@dataclass(frozen=True)
class Case:
    """A call of a scenario's command, and how it breaks."""

    scenario: Scenario
    call: str
    way: Way

    def __str__(self) -> str:
        return f"{self.scenario.name}, {self.call}, {self.way}"


@dataclass(frozen=True)
class Verdict:
    """`wrong` is "" for a case that converged. `alike`: what came after was played before, from the very same account and folder."""

    case: Case
    wrong: str = ""
    alike: bool = False
    reached: bool = True


def cases(scenario: Scenario, calls: Iterable[str]) -> Iterator[Case]:
    """Each call in each way."""
    return (Case(scenario, call, way) for call in calls for way in Way)


def play(
    scenario: Scenario,
    line: Line,
    folder: Path,
    choose: Callable[[list[str]], list[Case]],
    tell: Callable[[Verdict], None],
    account: Callable[[], Aws] | None = None,
) -> None:
    """Prepare once; then each case on a copy. `choose` picks among the calls of the undisturbed command."""
    stage = build(line, folder, account)
    scenario.prepare(stage)
    empty = build_empty(line, folder / "empty")
    calls = apart(lambda: _undisturbed(scenario, stage))
    proved: set[object] = set()
    for number, case in enumerate(choose(calls)):
        wrong, state, reached, alike = apart(partial(_one, case, stage, number, empty, proved))
        if not wrong and state is not None:
            proved.add(state)
        tell(Verdict(case, wrong, alike, reached))


def build_empty(line: Line, folder: Path) -> set[str]:
    """What an account holds in which nobody has done anything, by its own lists; the spot role stays, as AWS keeps it."""
    stage = build(line, folder)

    def look() -> set[str]:
        from moto.core.base_backend import BackendDict

        BackendDict.reset()
        return set(stage.account())

    found: set[str] = apart(look)
    shutil.rmtree(folder)
    return found | {"role AWSServiceRoleForEC2Spot"}


def _undisturbed(scenario: Scenario, stage: Stage) -> list[str]:
    stage.moved("undisturbed")
    (outcome,) = stage.keeper.run(scenario.command(stage))
    assert outcome.result[0].code == 0, (outcome.result[0].out, outcome.result[0].err)
    return list(dict.fromkeys(outcome.calls))


def _one(case: Case, stage: Stage, number: int, empty: set[str], proved: set[object]) -> tuple[str, object, bool, bool]:
    """What is wrong, the state after the first play, whether the call was reached, and whether that state was seen before."""
    stage.moved(f"case-{number}")
    try:
        (first,) = stage.keeper.run(case.scenario.command(stage), broken=Break(case.call, case.way))
        if not first.broken:
            return "", None, False, False
        if first.result:
            stage.clock.time = first.result[1].time
        _check_words(case, first)
        said = None if first.killed else (first.result[0].code, first.result[0].hint)
        state = (frozenset(stage.seen().items()), said, case.way.kills)
        if state in proved:
            return "", None, True, True
        finish(case, stage, first, empty)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the case that is wrong
        return (str(error) or repr(error))[-LONGEST_MESSAGE:] or "an assertion failed", None, True, False
    finally:
        shutil.rmtree(stage.folder, ignore_errors=True)
    return "", state, True, False


def finish(case: Case, stage: Stage, first: Outcome, empty: set[str]) -> None:
    """Again, the laws, and a teardown that leaves nothing."""
    scenario = case.scenario
    if scenario.again:
        scenario.again(stage, first, case.way)
    else:
        type_again(scenario, stage, first, case.way)
    scenario.law(stage, first, case.way)
    stage.do(stage.typed(*TEARDOWN))
    assert not stage.instances()
    left = set(stage.account()) - empty
    assert not left, f"left: {sorted(left)}"


def _check_words(case: Case, first: Outcome) -> None:
    """A command that fails says so in one sentence with a hint that can be run; one that was lost once does not fail."""
    if first.killed or not case.scenario.speaks:
        return
    result: Result = first.result[0]
    if case.way is Way.LOST_ONCE:
        assert result.code == 0, f"one lost answer made it fail: {result.err[-LONGEST_MESSAGE:]}"
    if result.code:
        assert result.error, result.err
        assert not result.error.endswith("."), result.error
        assert "a bug in llmlab" not in result.error, result.error
        assert result.hint.startswith(("llmlab ", "aws ")), result.err
