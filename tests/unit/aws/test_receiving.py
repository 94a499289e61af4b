"""Objects from an endpoint that breaks off, ignores ranges or damages: what arrives is whole and checked, or has no name."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from llmlab.aws import receiving
from llmlab.aws.receiving import DownloadFile, partial, receive
from llmlab.aws.session import Aws, Unreachable
from llmlab.errors import LabError
from tests.conftest import REGION

PART = 1000
CONTENT = bytes(number % 251 for number in range(7 * PART + 123))
CHANGED = datetime(2026, 1, 1, tzinfo=UTC)

Answer = Callable[[bytes], bytes]
"""What was asked for to what is sent of it before the connection is cut."""


@dataclass
class Endpoint:
    """An S3 with one object, on a socket of this machine, since botocore's doubles have no connection to break."""

    content: bytes = CONTENT
    answer: Answer = lambda body: body
    tag: str = '"tag"'
    ranges: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def get(self, request: BaseHTTPRequestHandler) -> None:
        where = request.headers.get("Range", "")
        self.asked.append(where)
        if request.headers["If-Match"] != self.tag:
            request.send_response(412)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        first, _, last = where.removeprefix("bytes=").partition("-")
        body = self.content[int(first) : int(last) + 1] if where and self.ranges else self.content
        request.send_response(206 if where and self.ranges else 200)
        for name, value in {"Content-Length": str(len(body)), "ETag": self.tag, **self.headers}.items():
            request.send_header(name, value)
        request.end_headers()
        sent = self.answer(body)
        request.wfile.write(sent)
        request.close_connection = len(sent) < len(body)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    there = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            there.get(self)

        def log_message(self, *_: object) -> None:
            """Nothing: it would write to stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(receiving, "PART", PART)
    monkeypatch.setattr(receiving, "BLOCK", 300)
    yield there
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def aws() -> Iterator[Aws]:
    there = Aws(REGION, lab="broken")
    yield there
    for thread in threading.enumerate():
        if thread.name.endswith("(_work)"):  # of a crew that was dropped: its last connection is to be closed in this test
            thread.join()
    there.s3.close()


def incoming(path: Path, content: bytes = CONTENT, *, known: bool = True) -> DownloadFile:
    """The object as a run's marker lists it, or, when it is not `known`, as the listing alone does."""
    return DownloadFile("key", path, len(content), '"tag"', CHANGED, hashlib.sha256(content).hexdigest() if known else "")


def broken_once(body: bytes) -> bytes:
    return body[: len(body) * 2 // 3] if len(body) > 400 else body


@pytest.mark.parametrize("known", [True, False])
def test_what_a_broken_connection_has_not_brought_is_asked_for_again(endpoint: Endpoint, aws: Aws, tmp_path: Path, known: bool) -> None:
    endpoint.answer = broken_once
    told: list[float] = []
    receive(aws, "bucket", [incoming(tmp_path / "a", known=known)], lambda done, _total: told.append(done))
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert (tmp_path / "a").stat().st_mtime == CHANGED.timestamp()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert told == sorted(told)
    assert told[-1] == len(CONTENT)
    assert len(endpoint.asked) == 7 * 2 + 1, "each but the last, which is short, broke once"
    assert len({where.partition("-")[2] for where in endpoint.asked}) == 8, "only the rest of a part is asked for"


def test_a_small_object_whose_connection_breaks(endpoint: Endpoint, aws: Aws, tmp_path: Path) -> None:
    endpoint.content = CONTENT[:900]
    endpoint.answer = broken_once
    receive(aws, "bucket", [incoming(tmp_path / "a", CONTENT[:900]), incoming(tmp_path / "empty", b"")])
    assert endpoint.asked == ["", "bytes=600-899"]
    assert (tmp_path / "a").read_bytes() == CONTENT[:900]
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_connection_that_always_breaks_leaves_a_whole_beginning(endpoint: Endpoint, aws: Aws, tmp_path: Path) -> None:
    file = incoming(tmp_path / "a")
    endpoint.answer = lambda body: b"" if body.endswith(CONTENT[-100:]) else body
    with pytest.raises(Unreachable, match="the connection broke 4 times while key was fetched"):
        receive(aws, "bucket", [file])
    assert not file.path.exists()
    held = partial(file.path).read_bytes()
    assert held == CONTENT[: 7 * PART]
    endpoint.answer = lambda body: body
    endpoint.asked.clear()
    receive(aws, "bucket", [file])
    assert file.path.read_bytes() == CONTENT
    assert endpoint.asked == ["bytes=7000-7122"]


@pytest.mark.parametrize("size", [len(CONTENT), 900])
def test_what_its_sha256_does_not_say_gets_no_name(endpoint: Endpoint, aws: Aws, tmp_path: Path, size: int) -> None:
    endpoint.content = CONTENT[: size // 2] + b"!" + CONTENT[size // 2 + 1 : size]
    file = incoming(tmp_path / "a", CONTENT[:size])
    with pytest.raises(LabError, match="is not what its SHA-256 says"):
        receive(aws, "bucket", [file])
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_changes_meanwhile_is_refused(endpoint: Endpoint, aws: Aws, tmp_path: Path) -> None:
    endpoint.tag = '"new"'
    with pytest.raises(LabError, match="changed while it was fetched"):
        receive(aws, "bucket", [incoming(tmp_path / "a")])
    assert not (tmp_path / "a").exists()


def test_an_endpoint_that_knows_no_ranges(endpoint: Endpoint, aws: Aws, tmp_path: Path) -> None:
    endpoint.ranges = False
    with pytest.raises(Unreachable):
        receive(aws, "bucket", [incoming(tmp_path / "a", known=False)])
    assert not (tmp_path / "a").exists()


def test_the_checksum_that_comes_with_a_whole_object_is_compared(endpoint: Endpoint, aws: Aws, tmp_path: Path) -> None:
    endpoint.content = CONTENT[:900]
    endpoint.headers["x-amz-checksum-crc32"] = "AAAAAA=="
    with pytest.raises(Unreachable):
        receive(aws, "bucket", [incoming(tmp_path / "a", CONTENT[:900], known=False)])
    assert endpoint.asked == [""] * receiving.TRIES, "all of it again"
    assert list(tmp_path.iterdir()) == []
