"""The error codes of AWS's answers, and the classes of S3's."""

from typing import Any

TAKEN = {"412", "PreconditionFailed"}
CONFLICT = {"409", "ConditionalRequestConflict"}
MISSING = {"404", "NoSuchKey", "NotFound"}
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
