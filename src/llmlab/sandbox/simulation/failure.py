"""What goes wrong with a call or with the program that makes it."""

from botocore.exceptions import ClientError


def failure(code: str, message: str, operation: str, status: int = 400) -> ClientError:
    """An answer of AWS that is an error."""
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)  # type: ignore[typeddict-item]


class Died(BaseException):
    """The program is gone in the middle of what it did: no `except Exception` of its own hears of it."""


class Pause(BaseException):
    """A program on a machine waits: it is left here, and called anew at `moment`, in seconds since 1970."""

    def __init__(self, moment: float) -> None:
        super().__init__(moment)
        self.moment = moment
