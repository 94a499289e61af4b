"""The ways in which a call can break, and what a client hears of each."""

from dataclasses import dataclass
from enum import StrEnum

THROTTLES = {
    "ec2": ("RequestLimitExceeded", 503),
    "s3": ("SlowDown", 503),
    "iam": ("Throttling", 400),
    "sts": ("Throttling", 400),
    "sns": ("Throttled", 429),
    "cloudwatch": ("Throttling", 400),
    "lambda": ("TooManyRequestsException", 429),
}
"""How each service says that it was asked too often; the others say ThrottlingException.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/throttling.html, S3's "Error responses", each service's "Common errors".
"""


class Way(StrEnum):
    """What happens to call k."""

    REFUSED = "refused"
    """Nobody takes the connection, however often it is tried."""
    THROTTLED = "throttled"
    """Asked too often, at every try."""
    FAILED = "answered 500"
    """At every try."""
    LOST_ONCE = "answer lost once"
    """It takes effect, and the connection breaks before the answer; the client's own second try arrives."""
    LOST = "answer lost"
    """The same at every try."""
    KILLED_BEFORE = "killed before"
    """SIGKILL as the call goes out: it takes no effect."""
    KILLED_AFTER = "killed after"
    """SIGKILL once it has taken effect."""

    @property
    def kills(self) -> bool:
        return self in {Way.KILLED_BEFORE, Way.KILLED_AFTER}


@dataclass(frozen=True)
class Answer:
    """What comes back over the line. `status` 0: no answer came; -1: no connection was made."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


NO_ANSWER, NO_CONNECTION = Answer(0), Answer(-1)


def refusal(way: Way, service: str, protocol: str) -> Answer:
    """An error as AWS words it in this service's protocol."""
    if way is Way.THROTTLED:
        code, status = THROTTLES.get(service, ("ThrottlingException", 400))
    else:
        code, status = ("InternalError" if protocol in {"rest-xml", "ec2", "query"} else "InternalServerException"), 500
    words = "Rate exceeded" if way is Way.THROTTLED else "We encountered an internal error. Please try again."
    return Answer(status, *_worded(protocol, code, words))


def _worded(protocol: str, code: str, words: str) -> tuple[tuple[tuple[str, str], ...], bytes]:
    error = f"<Code>{code}</Code><Message>{words}</Message>"
    if protocol == "rest-xml":
        return (("Content-Type", "application/xml"),), f"<Error>{error}<RequestId>r</RequestId></Error>".encode()
    if protocol == "ec2":
        return (), f"<Response><Errors><Error>{error}</Error></Errors><RequestID>r</RequestID></Response>".encode()
    if protocol == "query":
        return (), f"<ErrorResponse><Error>{error}</Error><RequestId>r</RequestId></ErrorResponse>".encode()
    if "cbor" in protocol:
        kind = (("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor"))
        return kind, b"\xa2" + b"".join(map(_cbor_text, ("__type", code, "message", words)))
    return (("x-amzn-ErrorType", code),), f'{{"__type": "{code}", "message": "{words}"}}'.encode()


def _cbor_text(text: str) -> bytes:
    """RFC 8949, major type 3."""
    raw = text.encode()
    return (bytes([0x60 + len(raw)]) if len(raw) < 24 else bytes([0x78, len(raw)])) + raw
