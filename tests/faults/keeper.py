"""The keeper of the account, at the other end of the line.

The account is moto's, completed, in the memory of one process without threads, the keeper. A command is a process forked from it. So the
next command finds the account as it was left, a fork of the keeper is a copy of the account, and what a kill would leave can be tried at
every call of one play: the command is stopped there, and its folder and the account are copied.
"""

import gc
import os
import signal
import socket
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from random import Random
from typing import Any

import botocore.endpoint
from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders

from tests.faults.line import Call, Impatient, Line
from tests.faults.ways import NO_ANSWER, NO_CONNECTION, Answer, Way, refusal

CATALOGUE = {"DescribeInstanceTypes", "DescribeInstanceTypeOfferings"}
LIMIT_SECONDS = 120
"""Longer than this no command of a test is silent."""


@dataclass(frozen=True)
class Break:
    """Call `name` of a command breaks in this way, which is none of those that kill."""

    name: str
    way: Way


@dataclass
class Outcome:
    """What became of a command: what it returned, or that it was killed; the calls it made, and how many that change something arrived."""

    result: Any = None
    killed: bool = False
    broken: bool = False
    calls: list[str] = field(default_factory=list)
    writes: int = 0
    clock: Any = None


Command = Callable[[], Any]


Held = Callable[[str, Way, Outcome], None]
"""What is done while a command is held still at the call of this name; the outcome is what there would be if it were killed there."""


class Keeper:
    """Holds the account, and answers commands; one call at a time, in an order that `chance` chooses where several wait."""

    def __init__(self, line: Line, folder: Path) -> None:
        self.line = line
        self.folder = folder
        self.heard: Callable[[Call], None] = lambda _call: None
        """Told of each call that has taken effect: the world may answer."""

    def run(self, *commands: Command, broken: Break | None = None, chance: Random | None = None, held: Held | None = None) -> list[Outcome]:
        """Run commands side by side, each in a process of its own. `broken` is a call of the first, which is `held` at each of its calls,
        as it goes out and once it has taken effect. No call is answered before every command has made its next one or is through.
        """
        return _Play(self, broken, chance or Random(0), held, len(commands)).run(commands)


def apart(work: Callable[[], Any]) -> Any:
    """What `work` returns in a fork, whose account is a copy.

    Raises:
        AssertionError: it raised, with its traceback.
    """
    mine, theirs = Pipe(duplex=False)
    child = os.fork()
    if not child:
        mine.close()
        _report(theirs, work)
    theirs.close()
    try:
        done, result = mine.recv()
    except EOFError:
        done, result = False, "it died"
    os.waitpid(child, 0)
    mine.close()
    if not done:
        raise AssertionError(result)
    return result


def _report(pipe: Connection, work: Callable[[], Any]) -> None:
    """The end of a forked process: what `work` returns goes into the pipe, and nothing of the parent's is cleaned up twice."""
    code = 1
    gc.disable()  # a collection would touch, and so copy, every page that is shared with the parent
    try:
        pipe.send((True, work()))
        code = 0
    except BaseException:  # noqa: BLE001 - told on the other side
        pipe.send((False, traceback.format_exc()))
    finally:
        os._exit(code)


class _Play:
    def __init__(self, keeper: Keeper, broken: Break | None, chance: Random, held: Held | None, count: int) -> None:
        self.keeper, self.broken, self.chance, self.held = keeper, broken, chance, held
        self.outcomes = [Outcome() for _ in range(count)]
        self.pids: dict[int, int] = {}
        self.tries = 0

    def run(self, commands: Sequence[Command]) -> list[Outcome]:
        place = self.keeper.folder / f"line-{os.getpid()}"
        place.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
            listener.listen(256)
            results = {self._start(number, command, str(place), listener): number for number, command in enumerate(commands)}
            try:
                self._serve(listener, results)
            finally:
                for number in list(self.pids):
                    self._kill(number)
                place.unlink()
        return self.outcomes

    def _start(self, number: int, command: Command, place: str, listener: socket.socket) -> Connection:
        mine, theirs = Pipe(duplex=False)
        pid = os.fork()
        if not pid:
            mine.close()
            listener.close()
            self.keeper.line.keeper, self.keeper.line.number = place, number
            botocore.endpoint.time = Impatient()  # type: ignore[attr-defined]
            _report(theirs, command)
        theirs.close()
        self.pids[number] = pid
        return mine

    def _serve(self, listener: socket.socket, results: dict[Connection, int]) -> None:
        lines: list[Connection] = []
        waiting: list[tuple[Connection, int, Call]] = []
        while results:
            asked = {number for _, number, _ in waiting} >= set(self.pids)
            ready = wait([listener, *lines, *results], 0 if asked else LIMIT_SECONDS)
            if not ready and not asked:
                raise AssertionError(f"a command said nothing for {LIMIT_SECONDS} seconds")
            for one in ready:
                if one is listener:
                    lines.append(Connection(listener.accept()[0].detach()))
                elif one in results:
                    self._finish(one, results.pop(one))
                else:
                    self._hear(one, lines, waiting)  # type: ignore[arg-type]
            if not ready:
                number = self.chance.choice(sorted({number for _, number, _ in waiting}))
                chosen = self.chance.choice([place for place, (_, of, _) in enumerate(waiting) if of == number])
                line, _, call = waiting.pop(chosen)
                line.send(self._answer(number, call))
        for line in lines:
            line.close()

    def _hear(self, line: Connection, lines: list[Connection], waiting: list[tuple[Connection, int, Call]]) -> None:
        try:
            waiting.append((line, *line.recv()))
        except (EOFError, ConnectionResetError):
            lines.remove(line)
            line.close()

    def _finish(self, pipe: Connection, number: int) -> None:
        outcome = self.outcomes[number]
        try:
            done, outcome.result = pipe.recv()
        except EOFError:
            outcome.killed = done = True
        if number in self.pids:
            os.waitpid(self.pids.pop(number), 0)
        pipe.close()
        if not done:
            raise AssertionError(outcome.result)

    def _kill(self, number: int) -> None:
        pid = self.pids.pop(number)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def _answer(self, number: int, call: Call) -> Answer:
        outcome = self.outcomes[number]
        again = call.name in outcome.calls
        if not again:
            outcome.calls.append(call.name)
        if number == 0 and self.broken and self.broken.name == call.name:
            outcome.broken = True
            self.tries += 1
            return self._break(self.broken.way, outcome, call)
        if number or again or not self.held:
            return self._effect(outcome, call)
        self._hold(call, Way.KILLED_BEFORE, self.held)
        answer = self._effect(outcome, call)
        self._hold(call, Way.KILLED_AFTER, self.held)
        return answer

    def _break(self, way: Way, outcome: Outcome, call: Call) -> Answer:
        if way is Way.REFUSED:
            return NO_CONNECTION
        if way is Way.LOST_ONCE and self.tries > 1:
            return self._effect(outcome, call)
        if way in {Way.LOST, Way.LOST_ONCE}:
            self._effect(outcome, call)
            return NO_ANSWER
        return refusal(way, call.service, call.protocol)

    def _hold(self, call: Call, way: Way, held: Held) -> None:
        """Stop the command as SIGKILL would, with all its threads, but so that it can go on."""
        os.kill(self.pids[0], signal.SIGSTOP)
        os.waitpid(self.pids[0], os.WUNTRACED)
        held(call.name, way, Outcome(killed=True, broken=True, calls=list(self.outcomes[0].calls), writes=self.outcomes[0].writes))
        os.kill(self.pids[0], signal.SIGCONT)

    def _effect(self, outcome: Outcome, call: Call) -> Answer:
        request = AWSPreparedRequest(call.method, call.url, HTTPHeaders(), call.body, False)
        for key, value in call.headers:
            request.headers[key] = value
        answer = self._known(call, request)
        outcome.writes += not call.reads and answer.status < 300
        self.keeper.heard(call)
        return answer

    def _known(self, call: Call, request: AWSPreparedRequest) -> Answer:
        """The account's answer; that of the catalogue, which no call changes, is kept, because moto takes 0.4 s for it."""
        known = self.keeper.line.catalogue
        question = (call.operation, call.url, call.body)
        if question in known:
            return known[question]
        response = self.keeper.line.account("", request)
        assert response is not None, call
        headers = tuple((str(key), str(value)) for key, value in response.headers.items())
        answer = Answer(response.status_code, headers, response.content)
        if call.operation in CATALOGUE:
            known[question] = answer
        return answer
