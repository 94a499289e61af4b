"""Exceptions of the simulation: AWS's errors, the death of a program, and a program's waiting."""

from botocore.exceptions import ClientError


def failure(code: str, message: str, operation: str, status: int = 400) -> ClientError:
    """AWS's error answer to a call, as botocore raises it."""
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)  # type: ignore[typeddict-item]


class Died(BaseException):
    """The program died in the middle of its work. A BaseException, so that the program's own `except Exception` does not catch it."""


class Pause(BaseException):
    """A program on a machine waits: it is left by this exception, and called again at `moment`, in seconds since 1970."""

    def __init__(self, moment: float) -> None:
        super().__init__(moment)
        self.moment = moment
