"""The supervisor of one machine: `python -I -S keeper.py FOLDER` runs its user data and ends all its processes when stdin closes.

The sandbox holds the other end of stdin. So whether it switches the machine off or is itself killed, no process of the machine survives.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_SECONDS = 3.0
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    folder = Path(sys.argv[1])
    adopt_orphans()
    with (folder / "console.log").open("ab", buffering=0) as console:
        script = folder / "user-data"
        interpreter = ["bash"] if b"sh" in script.read_bytes().split(b"\n", 1)[0] else []
        try:
            process = subprocess.Popen(
                [*interpreter, str(script)], stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )
        except OSError as error:
            console.write(f"cloud-init: user data cannot run: {error}\n".encode())
        else:
            register(folder, process.pid)
    while not select.select([sys.stdin], [], [], 0.5)[0]:
        reap()
    end(folder)
    (folder / "down").touch()


def adopt_orphans() -> None:
    """On Linux, become the parent of orphaned processes, so that they can be reaped; elsewhere the system does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def register(folder: Path, group: int) -> None:
    (folder / "groups" / str(group)).touch()


def reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass


def end(folder: Path) -> None:
    """Send SIGTERM to every process group of the machine, then SIGKILL twice: to those left, and to those that were just starting."""
    for number, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, 1.0), (signal.SIGKILL, 0.2)):
        groups = [int(entry.name) for entry in (folder / "groups").iterdir()]
        for group in groups:
            send(group, number)
        until = time.monotonic() + patience
        while time.monotonic() < until and any(send(group, 0) for group in groups):
            reap()
            time.sleep(0.03)  # noqa: TID251 - a program of its own


def send(group: int, number: int) -> bool:
    """Send a signal to a process group; returns whether the group exists."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # raised by macOS for a group of zombies
        return False
    return True


if __name__ == "__main__":
    main()
