"""Every call of a command, broken in every way: what came of each case."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from llmlab.aws.session import Aws
from tests.cli.conftest import Result
from tests.faults.before import TEARDOWN
from tests.faults.keeper import Break, Outcome, apart
from tests.faults.line import Line
from tests.faults.scenarios import Scenario, type_again
from tests.faults.stage import Stage, build
from tests.faults.ways import Way

LONGEST_MESSAGE = 500


@dataclass(frozen=True)
class Case:
    """A call of a scenario's command, and how it breaks."""

    scenario: str
    call: str
    way: Way

    def __str__(self) -> str:
        return f"{self.scenario}, {self.call}, {self.way}"


@dataclass(frozen=True)
class Verdict:
    """`wrong` is "" for a case that converged. `alike`: what came after was played before, from the very same account and folder."""

    case: Case
    wrong: str = ""
    alike: bool = False
    reached: bool = True


def cases(scenario: Scenario, calls: Iterable[str]) -> Iterator[Case]:
    """Each call in each way."""
    return (Case(scenario.name, call, way) for call in calls for way in Way)


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
    played = Played(scenario, stage, build_empty(line, folder / "empty"))
    chosen = choose(apart(played.undisturbed))
    killing = {(case.call, case.way): case for case in chosen if case.way.kills}
    for case in chosen:
        if not case.way.kills:
            tell(played.note(*apart(partial(played.broken, case))))
    if killing:
        for found in apart(partial(played.killed, killing)):
            tell(played.note(*found))


@dataclass
class Played:
    """A scenario that is prepared. `empty` is what an empty account holds, `proved` are the states from which all went well."""

    scenario: Scenario
    stage: Stage
    empty: set[str]
    proved: set[str] = field(default_factory=set)

    def note(self, verdict: Verdict, state: str) -> Verdict:
        """Remember the state of a case that converged."""
        if state and not verdict.wrong:
            self.proved.add(state)
        return verdict

    def undisturbed(self) -> list[str]:
        """The names of the command's calls."""
        self.stage.moved("undisturbed")
        (outcome,) = self.stage.keeper.run(self.scenario.command(self.stage))
        assert outcome.result[0].code == 0, (outcome.result[0].out, outcome.result[0].err)
        return list(dict.fromkeys(outcome.calls))

    def broken(self, case: Case) -> tuple[Verdict, str]:
        """What came of a case in which a call fails, and the state after it."""
        self.stage.moved("case")
        try:
            (first,) = self.stage.keeper.run(self.scenario.command(self.stage), broken=Break(case.call, case.way))
        except Exception as error:  # noqa: BLE001 - the account itself may be what breaks
            return Verdict(case, repr(error)[-LONGEST_MESSAGE:]), ""
        return self.judged(case, first) if first.broken else (Verdict(case, reached=False), "")

    def killed(self, cases: Mapping[tuple[str, Way], Case]) -> list[tuple[Verdict, str]]:
        """What came of each case in which the command is killed: of all of one play, on copies of what there is at each call."""
        found: dict[Case, tuple[Verdict, str]] = {}
        self.stage.moved("killed")

        def held(name: str, way: Way, outcome: Outcome) -> None:
            case = cases.get((name, way))
            if case:
                found[case] = apart(partial(self.judged_apart, case, outcome))
                self.note(*found[case])

        self.stage.keeper.run(self.scenario.command(self.stage), held=held)
        return [found.get(case, (Verdict(case, reached=False), "")) for case in cases.values()]

    def judged_apart(self, case: Case, first: Outcome) -> tuple[Verdict, str]:
        """`judged`, in a copy of the folder."""
        self.stage.moved("case")
        return self.judged(case, first)

    def judged(self, case: Case, first: Outcome) -> tuple[Verdict, str]:
        """Whether all goes well after this first play, and the state that it left."""
        stage = self.stage
        try:
            if first.result:
                stage.clock.time = first.result[1].time
            _check_words(self.scenario, case, first)
            said = None if first.killed else (first.result[0].code, first.result[0].hint)
            state = hashlib.sha256(repr((sorted(stage.seen().items()), said, case.way.kills)).encode()).hexdigest()
            if state in self.proved:
                return Verdict(case, alike=True), state
            finish(self.scenario, stage, first, case.way, self.empty)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the case that is wrong
            return Verdict(case, (str(error) or repr(error))[-LONGEST_MESSAGE:]), ""
        finally:
            shutil.rmtree(stage.folder, ignore_errors=True)
        return Verdict(case), state


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


def finish(scenario: Scenario, stage: Stage, first: Outcome, way: Way, empty: set[str]) -> None:
    """Again, the laws, and a teardown that leaves nothing."""
    if scenario.again:
        scenario.again(stage, first, way)
    else:
        type_again(scenario, stage, first, way)
    scenario.law(stage, first, way)
    stage.do(stage.typed(*TEARDOWN))
    assert not stage.instances()
    left = set(stage.account()) - empty
    assert not left, f"left: {sorted(left)}"


def _check_words(scenario: Scenario, case: Case, first: Outcome) -> None:
    """A command that fails says so in one sentence with a hint that can be run; one that was lost once does not fail."""
    if first.killed or not scenario.speaks:
        return
    result: Result = first.result[0]
    if case.way is Way.LOST_ONCE:
        assert result.code == 0, f"one lost answer made it fail: {result.err[-LONGEST_MESSAGE:]}"
    if result.code:
        assert result.error, result.err
        assert not result.error.endswith("."), result.error
        assert "a bug in llmlab" not in result.error, result.error
        assert result.hint.startswith(("llmlab ", "aws ")), result.err
