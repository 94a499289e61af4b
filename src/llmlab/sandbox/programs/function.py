"""Run one invocation of a Lambda function: `python -I function.py FOLDER`, with the zip and the event in the folder.

It stands for AWS's own runtime, and imports nothing of llmlab: a module that the zip lacks is missing here too.
"""

import datetime as dt
import importlib
import json
import os
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Self


class Context:
    """The context object of a handler, as far as it is documented and used."""

    def __init__(self) -> None:
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.aws_request_id = os.environ["_SANDBOX_REQUEST"]
        self.invoked_function_arn = os.environ["_SANDBOX_ARN"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.memory_limit_in_mb = "128"
        self._end = time.monotonic() + float(os.environ["_SANDBOX_TIMEOUT"])

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._end - time.monotonic()) * 1000))


def shift_clock(seconds: float) -> None:
    """Shift this process's clock by so many seconds, to the sandbox's time."""
    if not seconds:
        return
    real_time = time.time

    class Shifted(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Self:
            return cls.fromtimestamp(real_time() + seconds, tz)

        @classmethod
        def utcnow(cls) -> Self:
            return cls.fromtimestamp(real_time() + seconds, dt.UTC).replace(tzinfo=None)

    time.time = lambda: real_time() + seconds
    dt.datetime = Shifted  # type: ignore[misc]


def play_internet(hosts: dict[str, list[str]]) -> None:
    """Resolve host names to IP addresses, and connect those to local ports. Nothing else of the network changes.

    This lets a test receive what a function posts: the function still checks the address and the host's certificate.
    """
    look_up, connect = socket.getaddrinfo, socket.create_connection
    ports = {number: int(port) for number, port in hosts.values()}

    def getaddrinfo(host: Any, *rest: Any, **named: Any) -> Any:
        return look_up(hosts[host][0] if host in hosts else host, *rest, **named)

    def create_connection(address: tuple[str, int], *rest: Any, **named: Any) -> socket.socket:
        return connect(("127.0.0.1", ports[address[0]]) if address[0] in ports else address, *rest, **named)

    vars(socket).update(getaddrinfo=getaddrinfo, create_connection=create_connection)


def main() -> int:
    folder = Path(sys.argv[1])
    sys.path.insert(0, str(folder / "function.zip"))
    if "_SANDBOX_BOTO3" in os.environ:
        vars(importlib.import_module("boto3"))["__version__"] = os.environ["_SANDBOX_BOTO3"]
    play_internet(json.loads(os.environ.get("_SANDBOX_INTERNET", "{}")))
    shift_clock(float(os.environ["_SANDBOX_OFFSET"]))
    answer = folder / "answer.json"
    try:
        name, _, function = os.environ["_HANDLER"].rpartition(".")
        handler = getattr(importlib.import_module(name.replace("/", ".")), function)
        event = json.loads((folder / "event.json").read_text(encoding="utf-8"))
        answer.write_text(json.dumps(handler(event, Context())), encoding="utf-8")
    except BaseException as error:  # noqa: BLE001 - as Lambda does: any end is told to the caller
        traceback.print_exc()
        trace = traceback.format_tb(error.__traceback__)
        answer.write_text(
            json.dumps({"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": trace}), encoding="utf-8"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
