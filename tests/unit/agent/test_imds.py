"""Instance metadata over HTTP: the token is asked for once, and anew when it has run out."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from llmlab.agent.imds import TOKEN_SECONDS, TRIES, HttpImds
from llmlab.clock import ManualClock
from tests.unit.agent.doubles import START

NOTICE = '{"action": "terminate", "time": "2026-11-23T18:30:00Z"}'
EXPIRED, FORBIDDEN, MISSING, UNAVAILABLE = 401, 403, 404, 503
"""401 is what IMDSv2 says of a token that has run out, 403 that it is switched off.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html#imds-response-codes"""


@dataclass
class Metadata:
    """The metadata service of one instance. `valid` is the one token that it takes, `refuses` its answer to everything."""

    address: str = ""
    pages: dict[str, str] = field(default_factory=lambda: {"instance-id": "i-1"})
    valid: str = "none"
    tokens: int = 0
    refuses: int = 0
    unready: int = 0
    not_yet: int = UNAVAILABLE
    asked_with: list[str] = field(default_factory=list)

    def token(self, lives: str) -> tuple[int, str]:
        assert lives == str(TOKEN_SECONDS)
        if self.refuses:
            return self.refuses, ""
        self.tokens += 1
        self.valid = f"token-{self.tokens}"
        return 200, self.valid

    def page(self, path: str, token: str) -> tuple[int, str]:
        self.asked_with.append(token)
        if self.refuses:
            return self.refuses, ""
        if self.unready:
            self.unready -= 1
            return self.not_yet, ""
        if token != self.valid:
            return EXPIRED, ""
        name = path.removeprefix("/latest/meta-data/")
        return (200, self.pages[name]) if name in self.pages else (MISSING, "")

    def expire(self) -> None:
        """Six hours have passed."""
        self.valid = "none"


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    service = Metadata()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._send(*service.token(self.headers["X-aws-ec2-metadata-token-ttl-seconds"]))

        def do_GET(self) -> None:
            self._send(*service.page(self.path, self.headers.get("X-aws-ec2-metadata-token", "")))

        def _send(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    service.address = f"http://127.0.0.1:{server.server_port}"
    yield service
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_token_does_for_many_questions(metadata: Metadata) -> None:
    imds = HttpImds(metadata.address, ManualClock(START))
    assert [imds.instance() for _ in range(3)] == ["i-1"] * 3
    assert metadata.tokens == 1


def test_a_spot_notice_is_heard_after_the_token_has_run_out(metadata: Metadata) -> None:
    imds = HttpImds(metadata.address, ManualClock(START))
    assert imds.interruption() is None
    for renewals in (1, 2, 3):
        metadata.expire()
        metadata.pages["spot/instance-action"] = NOTICE
        assert imds.interruption() == datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
        assert metadata.tokens == 1 + renewals


def test_no_notice_is_none_and_costs_no_token(metadata: Metadata) -> None:
    imds = HttpImds(metadata.address, ManualClock(START))
    assert [imds.interruption() for _ in range(3)] == [None] * 3
    assert metadata.tokens == 1


def test_a_service_that_refuses_is_asked_once_at_a_time(metadata: Metadata) -> None:
    imds = HttpImds(metadata.address, ManualClock(START))
    imds.instance()
    metadata.asked_with.clear()
    metadata.refuses = FORBIDDEN
    assert imds.interruption() is None
    assert len(metadata.asked_with) == 1
    metadata.refuses = EXPIRED
    assert imds.interruption() is None


@pytest.mark.parametrize("status", [MISSING, UNAVAILABLE])
def test_what_every_machine_has_is_asked_for_until_the_service_is_up(metadata: Metadata, status: int) -> None:
    metadata.unready, metadata.not_yet = TRIES - 1, status
    assert HttpImds(metadata.address, ManualClock(START)).instance() == "i-1"
    metadata.unready = TRIES
    assert HttpImds(metadata.address, ManualClock(START)).instance() == ""


def test_a_token_that_is_never_good_is_renewed_once_and_no_more(metadata: Metadata) -> None:
    imds = HttpImds(metadata.address, ManualClock(START))
    metadata.refuses = EXPIRED
    imds._token = "old"
    assert imds.interruption() is None
    assert metadata.asked_with == ["old"]
