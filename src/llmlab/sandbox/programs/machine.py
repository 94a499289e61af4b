"""Shared code of a machine's stand-in programs: its folder, its control address, and starting detached processes."""

import http.client
import json
import os
import subprocess
import sys
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

FOLDER = Path(os.environ.get("SANDBOX_MACHINE", "."))
CONTROL = os.environ.get("SANDBOX_CONTROL", "")


def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Call the sandbox's control API about this machine; returns the status and the JSON answer."""
    address = urllib.parse.urlsplit(CONTROL)
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    connection.request(
        method, f"{address.path}/{path}", json.dumps(body) if body is not None else None, {"Content-Type": "application/json"}
    )
    response = connection.getresponse()
    text = response.read()
    return response.status, json.loads(text) if text else None


def detach(command: Sequence[str], output: Path, environment: Mapping[str, str] | None = None) -> int:
    """Start a process group that outlives its starter but not the machine; returns its id."""
    with output.open("ab") as stream:
        process = subprocess.Popen(
            list(command), env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True, close_fds=True
        )
    (FOLDER / "groups" / str(process.pid)).touch()
    return process.pid


def forget(group: int) -> None:
    (FOLDER / "groups" / str(group)).unlink(missing_ok=True)


def die(message: str, code: int = 1) -> NoReturn:
    print(message, file=sys.stderr)  # noqa: T201 - a program of its own
    sys.exit(code)
