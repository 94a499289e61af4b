"""The line between a command and the account, and the keeper of the account at its other end.

The account is moto's, completed, in the memory of one process without threads, the keeper. A command is a process forked from it, whose
clients send what they would send to AWS over a Unix socket. So a SIGKILL is a real one, what is on disk is what a killed process leaves,
the next command finds the account as it was left, and a fork of the keeper is a copy of the account.
"""

import gc
import hashlib
import importlib
import os
import pkgutil
import re
import signal
import socket
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from random import Random
from typing import Any

import botocore.endpoint
import botocore.exceptions
import botocore.handlers
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from tests.faults.ways import NO_ANSWER, NO_CONNECTION, Answer, Way, refusal

LIMIT_SECONDS = 120
"""Longer than this no command of a test is silent."""
READING = ("Describe", "Get", "List", "Head", "Simulate", "Filter", "BatchGet")
CHANGING = re.compile(
    r"\d{8}-\d{6}-[a-z0-9]{4}\b|\b(?:vpc|subnet|rtb|igw|sg|lt|vpce|i|eni|rtbassoc|vol|ami|fleet|r|lr|arn)-[0-9a-f-]{8,}\b"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|\d{4}-\d\d-\d\dT[\d:.]+Z?|\b[0-9a-f]{32,64}\b"
)
"""Identities and moments, which differ from one play to the next."""


@dataclass(frozen=True)
class Call:
    """One call of a client as it goes out. `name` tells it from the other calls of its command, whatever their order."""

    name: str
    service: str
    operation: str
    protocol: str
    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def reads(self) -> bool:
        return self.operation.startswith(READING)


@dataclass(frozen=True)
class Break:
    """Call `name` of a command breaks in this way."""

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


class Line:
    """In a keeper it leads to moto at once, in a command to the keeper. Registered with botocore where moto's own stand-in was."""

    def __init__(self, account: Callable[..., AWSResponse | None]) -> None:
        self.account = account
        self.keeper = ""
        self.number = 0
        self.names: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.here = threading.local()

    def name(self, params: Any, model: Any, **_: Any) -> None:
        """A call begins, which may be tried several times."""
        told = f"{model.service_model.service_name}:{model.name}"
        asked = {key: value for key, value in params.items() if key not in {"Body", "Code", "ZipFile"}}
        text = CHANGING.sub("*", repr(sorted(asked.items())))
        told += f" {hashlib.sha256(text.encode()).hexdigest()[:8]}"
        with self.lock:
            self.names[told] += 1
            number = self.names[told]
        self.here.call = (f"{told} {number}", model.service_model.service_name, model.name, model.service_model.resolved_protocol)

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        if not self.keeper:
            return self.account("", request)
        asked: Any = request.body
        body = asked.read() if hasattr(asked, "read") else asked
        body = body.encode() if isinstance(body, str) else body or b""
        headers = tuple((key, value.decode() if isinstance(value, bytes) else str(value)) for key, value in request.headers.items())
        name, service, operation, protocol = self.here.call
        call = Call(name, service, operation, protocol, request.method, request.url, headers, body)
        if not hasattr(self.here, "connection"):
            plug = socket.socket(socket.AF_UNIX)
            plug.connect(self.keeper)
            self.here.connection = Connection(plug.detach())
        self.here.connection.send((self.number, call))
        answer: Answer = self.here.connection.recv()
        if answer.status < 0:
            raise botocore.exceptions.EndpointConnectionError(endpoint_url=request.url)
        if not answer.status:
            raise botocore.exceptions.ConnectionClosedError(endpoint_url=request.url)
        return _response(request.url, answer)


def _response(url: str, answer: Answer) -> AWSResponse:
    from moto.core.botocore_stubber import MockRawResponse

    headers = HTTPHeaders()
    for key, value in answer.headers:
        headers[key] = value
    return AWSResponse(url, answer.status, headers, MockRawResponse(answer.body))


PACKAGES = ("llmlab.aws", "llmlab.commands", "llmlab.dataset", "llmlab.infra", "llmlab.ops", "llmlab.watchdog")


def lay() -> Line:
    """Put the line into this process, before its first session, and load what commands would load one by one."""
    from llmlab.sandbox import completion

    completion.complete()
    for package in PACKAGES:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)
    from moto.core.models import botocore_stubber

    botocore_stubber.enabled = True
    line = Line(botocore_stubber)
    handlers: list[Any] = botocore.handlers.BUILTIN_HANDLERS
    handlers[handlers.index(("before-send", botocore_stubber))] = ("before-send", line)
    handlers.insert(0, ("provide-client-params", line.name))
    return line


class Impatient:
    """Time as botocore sees it between two tries: its waits are its own, and no argument reaches them."""

    def sleep(self, _seconds: float) -> None:
        return


Command = Callable[[], Any]


class Keeper:
    """Holds the account, and answers commands; one call at a time, in an order that `chance` chooses where several wait."""

    def __init__(self, line: Line, folder: Path) -> None:
        self.line = line
        self.folder = folder
        self.heard: Callable[[Call], None] = lambda _call: None
        """Told of each call that has taken effect: the world may answer."""

    def run(self, *commands: Command, broken: Break | None = None, chance: Random | None = None) -> list[Outcome]:
        """Run commands side by side, each in a process of its own. `broken` is a call of the first."""
        play = _Play(self, broken, chance or Random(0), len(commands))
        return play.run(commands)


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
    def __init__(self, keeper: Keeper, broken: Break | None, chance: Random, count: int) -> None:
        self.keeper, self.broken, self.chance = keeper, broken, chance
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
            ready = wait([listener, *lines, *results], 0 if waiting else LIMIT_SECONDS)
            if not ready and not waiting:
                raise AssertionError(f"a command said nothing for {LIMIT_SECONDS} seconds")
            for one in ready:
                if one is listener:
                    lines.append(Connection(listener.accept()[0].detach()))
                elif one in results:
                    self._finish(one, results.pop(one))
                else:
                    self._hear(one, lines, waiting)  # type: ignore[arg-type]
            if waiting and not ready:
                line, number, call = waiting.pop(self.chance.randrange(len(waiting)))
                if number in self.pids:
                    answer = self._answer(number, call)
                    if answer:
                        line.send(answer)
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

    def _answer(self, number: int, call: Call) -> Answer | None:
        outcome = self.outcomes[number]
        if not outcome.calls or outcome.calls[-1] != call.name:
            outcome.calls.append(call.name)
        hit = number == 0 and self.broken is not None and self.broken.name == call.name
        if not hit or self.broken is None:
            return self._effect(outcome, call)
        outcome.broken, way = True, self.broken.way
        self.tries += 1
        if way.takes_effect and not (way is Way.LOST_ONCE and self.tries > 1):
            self._effect(outcome, call)
        if way.kills:
            self._kill(number)
            return None
        if way is Way.REFUSED:
            return NO_CONNECTION
        if way is Way.LOST_ONCE and self.tries > 1:
            return self._effect(outcome, call)
        if way in {Way.LOST, Way.LOST_ONCE}:
            return NO_ANSWER
        return refusal(way, call.service, call.protocol)

    def _effect(self, outcome: Outcome, call: Call) -> Answer:
        request = AWSPreparedRequest(call.method, call.url, HTTPHeaders(), call.body, False)
        for key, value in call.headers:
            request.headers[key] = value
        response = self.keeper.line.account("", request)
        assert response is not None, call
        outcome.writes += not call.reads and response.status_code < 300
        self.keeper.heard(call)
        return Answer(response.status_code, tuple((str(key), str(value)) for key, value in response.headers.items()), response.content)
