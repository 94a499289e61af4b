"""What AWS and the machine say: metadata, events, prices."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import Message
from urllib.error import HTTPError

from llmlab.agent.imds import HttpImds
from llmlab.aws import price_list
from llmlab.aws.session import AwsError
from llmlab.clock import ManualClock
from llmlab.contract import RUN_ID
from llmlab.watchdog import events
from llmlab.watchdog.events import Deadline, Wake
from tests.fuzz.laws import told

Target = Callable[[bytes], None]


class Canned(HttpImds):
    """Metadata whose every answer is these bytes; the first says with which status."""

    def __init__(self, data: bytes) -> None:
        super().__init__("", ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))
        self.data = data

    def _call(self, path: str, method: str, headers: dict[str, str]) -> str:
        if method == "PUT":
            return "token"
        if self.data[:1] in {b"\x01", b"\x04"}:
            raise HTTPError(path, 401 if self.data[:1] == b"\x01" else 404, "", Message(), None)
        return self.data.decode()


def metadata(data: bytes) -> None:
    """Each question has an answer or none, whatever is said."""
    imds = Canned(data)
    moment = imds.interruption()
    assert moment is None or moment.utcoffset() is not None
    assert all(isinstance(text, str) for text in (imds.instance(), *imds.place()))


def event(data: bytes) -> None:
    """Any JSON is an event, and a run that it names is a run id."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    found = events.parse(value)
    assert not isinstance(found, Deadline | Wake) or RUN_ID.fullmatch(found.run)


def price(data: bytes) -> None:
    """A product of the price list has a finite price above zero, or none."""
    try:
        product = price_list.product(data.decode(errors="replace"))
    except AwsError as error:
        told(error)
        return
    dollars = price_list.dollars([product])
    assert dollars is None or (dollars > 0 and math.isfinite(dollars))
    assert isinstance(price_list.attribute(product, "instanceType"), str)


TARGETS: dict[str, Target] = {"metadata": metadata, "event": event, "price": price}
