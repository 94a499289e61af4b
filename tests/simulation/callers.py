"""The programs' connections to the simulated AWS: boto3's clients, as far as they are used here, with faults injected into calls.

A `Caller` is one program: a function's invocation, a machine, the laptop. Each of its calls is counted, may take time, be throttled, lose
its answer, or be the program's last.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from llmlab.aws.session import Aws, translate
from llmlab.contract import Names
from tests.simulation.cloud import Cloud
from tests.simulation.dice import SeededRandom
from tests.simulation.failure import Died, failure
from tests.simulation.weather import Weather

THROTTLED = {"s3": "SlowDown", "ec2": "RequestLimitExceeded"}
TOKENS = {
    "NextContinuationToken": "ContinuationToken", "NextToken": "NextToken", "NextKeyMarker": "KeyMarker",
    "NextVersionIdMarker": "VersionIdMarker",
}  # fmt: skip
"""Member of an answer with the token of the next page → parameter that takes it."""
NO_PRICES = "throttled price histories"
NOT_AGAIN = "create_fleet"
"""The only call that its client does not retry, so that a lost answer reaches the program."""

Call = Callable[[str, str, Mapping[str, Any]], Any]


class Client:
    """A boto3-like client of one service: every method calls the operation of its name."""

    def __init__(self, service: str, call: Call) -> None:
        self._service = service
        self._call = call

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda **parameters: self._call(self._service, method, parameters)

    def get_paginator(self, method: str) -> "Paginator":
        return Paginator(lambda parameters: self._call(self._service, method, parameters))

    def download_file(self, bucket: str, key: str, name: str, **rest: Any) -> None:
        """Download an object into a file, in one part: objects are too small here for several."""
        answer = self._call(self._service, "get_object", {"Bucket": bucket, "Key": key, **(rest.get("ExtraArgs") or {})})
        Path(name).write_bytes(answer["Body"].read())


@dataclass(frozen=True)
class Paginator:
    """A boto3-like paginator: follows the token at the end of each page."""

    call: Callable[[Mapping[str, Any]], Any]

    def paginate(self, **parameters: Any) -> Iterator[Any]:
        while True:
            page = self.call(parameters)
            yield page
            tokens = {parameter: page[token] for token, parameter in TOKENS.items() if page.get(token)}
            if not tokens:
                return
            parameters |= tokens


@dataclass
class Caller:
    """One program's connection to AWS, with the faults of its calls.

    `name` keys the random numbers; `dies_at` is the number of the call at which the program dies, `dies_after` whether that call still
    takes effect.
    """

    name: str
    cloud: Cloud
    dice: SeededRandom
    weather: Weather
    tally: Counter[str]
    pass_time: Callable[[float], None] = lambda _: None
    changed: Callable[[], None] = lambda: None
    """Called when a schedule of EventBridge Scheduler may have changed."""
    dies_at: int = 0
    dies_after: bool = False
    overdue: Callable[[], bool] = lambda: False
    """Whether the program has run longer than its time limit."""
    calls: int = 0
    dead: bool = False
    _counts: Counter[str] = field(default_factory=Counter)

    def client(self, service: str) -> Client:
        return Client(service, self.call)

    def call(self, service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        """Make one call of an AWS operation.

        Raises:
            ClientError: AWS refused or throttled the call.
            ReadTimeoutError: the answer was lost.
            Died: the program died at this call.
        """
        if self.dead:
            raise Died
        self.calls += 1
        about = f"{method} {parameters.get('Key') or parameters.get('Name') or parameters.get('Prefix') or ''}"
        self._counts[about] += 1
        question = (self.name, about, self._counts[about])
        self._wait(question)
        if self.calls == self.dies_at and not self.dies_after:
            self._die()
        if self.dice.happens(self.weather.throttled, *question, "throttled"):
            self.tally["throttled calls"] += 1
            self.tally[NO_PRICES] += method == "describe_spot_price_history"
            raise failure(THROTTLED.get(service, "ThrottlingException"), "Rate exceeded", method, 400)
        if parameters.get("IfNoneMatch") and self.dice.happens(self.weather.conflict, *question, "conflict"):
            self.tally["conflicting writes"] += 1
            raise failure(
                "ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation", method, 409
            )
        answer = self._do(service, method, parameters)
        if self.calls == self.dies_at:
            self._die()
        if self.dice.happens(self.weather.lost_answer, *question, "lost"):
            self.tally["lost answers"] += 1
            if method == NOT_AGAIN:
                raise ReadTimeoutError(endpoint_url=f"https://{service}.amazonaws.com")
            answer = self._do(service, method, parameters)
        return answer

    def _do(self, service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        body: Any = parameters.get("Body")
        if hasattr(body, "seek"):
            body.seek(0)
        try:
            return self.cloud.call(service, method, parameters)
        finally:
            if service == "scheduler":
                self.changed()

    def _wait(self, question: tuple[object, ...]) -> None:
        if self.weather.call_seconds:
            self.pass_time(self.dice.between(0, self.weather.call_seconds, *question, "seconds"))
            if self.dead or self.overdue():
                self._die()

    def _die(self) -> None:
        self.dead = True
        raise Died


class SimulatedAws(Aws):
    """The command line's connection to a simulated account: errors are translated to domain errors as in the real one."""

    def __init__(self, names: Names, caller: Caller) -> None:
        self.lab, self.region = names.lab, names.region
        self.account, self.names = names.account, names
        self._caller = caller

    def client(self, service: str, *, region: str | None = None, attempts: int = 5) -> Any:  # as the real one
        return Client(service, self._translated)

    def _translated(self, service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        operation = f"{service}:{''.join(word.capitalize() for word in method.split('_'))}"
        try:
            return self._caller.call(service, method, parameters)
        except (ClientError, ReadTimeoutError) as error:
            raise translate(error, operation, self.region) from error
