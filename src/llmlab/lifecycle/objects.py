"""Conditional writes to S3, where the first writer wins, and the classes of S3's errors."""

from secrets import token_hex
from typing import Any

from llmlab.clock import Clock

TAKEN = {"412", "PreconditionFailed"}
CONFLICT = {"409", "ConditionalRequestConflict"}
MISSING = {"404", "NoSuchKey", "NotFound"}
PAUSES_SECONDS = (0.2, 0.4, 0.8, 1.6, 2.0)
"""Pauses between tries while S3 answers that another write is under way: five seconds in all, by which that write has ended."""
PASSING = {
    "RequestTimeout", "RequestTimeTooSkewed", "OperationAborted", "ConditionalRequestConflict", "BadDigest", "IncompleteBody",
    "XAmzContentSHA256Mismatch", "ExpiredToken", "TokenRefreshRequired", "NoSuchUpload", "Throttling", "TooManyRequests",
    "408", "409", "429",
}  # fmt: skip
"""Codes of S3's client errors (4xx) that a repeat of the same request may not meet again.
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""
FOR_EVER = {
    "KeyTooLongError", "EntityTooLarge", "MetadataTooLarge", "InvalidURI", "InvalidArgument", "InvalidRequest", "MethodNotAllowed",
    "NotImplemented",
}  # fmt: skip
"""Codes that the same request always meets, whatever is changed in the account. From the same table."""
WRITER = "llmlab-writer"
"""Metadata key with a random word of the one write, by which a write recognises its own object. The body would not do, because two calls
in the same second write the same claim."""


def put_if_absent(client: Any, bucket: str, key: str, body: bytes, clock: Clock, content_type: str = "application/json") -> bool:
    """Write an object if its key does not exist (`If-None-Match: *`); False when another writer was first. `client` is boto3's S3 client.

    S3 answers 409 while another write of the key is under way, after which nothing may be there: "On a 409 failure you should retry
    the upload" (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html, If-None-Match). A server that took it for a
    duplicate lost what it was to keep: https://github.com/open-proofline/server/issues/380.
    It answers 412 when something is there, which may be this very write, where its answer was lost and the client has tried again.

    Raises:
        Exception: the client's own: S3 did not take it, or went on to answer 409.
    """
    writer = token_hex(8)
    for pause in (*PAUSES_SECONDS, 0.0):
        try:
            client.put_object(
                Bucket=bucket, Key=key, Body=body, ContentType=content_type, IfNoneMatch="*", Metadata={WRITER: writer}
            )  # fmt: skip
        except Exception as error:
            code = error_code(error)
            if code in TAKEN:
                return _writer(client, bucket, key) == writer
            if code not in CONFLICT or not pause:
                raise
            clock.sleep(pause)
        else:
            return True
    raise AssertionError("unreachable")


def _writer(client: Any, bucket: str, key: str) -> str:
    """The `WRITER` metadata of an object, "" where it has none or does not exist."""
    try:
        metadata: dict[str, str] = client.head_object(Bucket=bucket, Key=key).get("Metadata", {})
    except Exception as error:
        if error_code(error) in MISSING:
            return ""
        raise
    return metadata.get(WRITER, "")


def error_code(error: Exception) -> str:
    """AWS's error code in a client's error, "" for an error that is no answer of AWS."""
    response: dict[str, Any] = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))


def refusal(error: Exception) -> tuple[str, str] | None:
    """S3's code and message where it refuses a request and waiting does not help; None for any other error.

    boto3's own upload wraps the answer, which is then the context of the error.
    """
    response: dict[str, Any] = getattr(error, "response", None) or getattr(error.__context__, "response", None) or {}
    answer, status = response.get("Error", {}), int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(answer.get("Code", ""))
    if not 400 <= status < 500 or code in PASSING:
        return None
    return code, str(answer.get("Message", ""))
