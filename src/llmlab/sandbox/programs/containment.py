"""The isolation of a stand-in container, where Linux and root allow it.

It runs as another user than the machine's root, and with `--network none` it has only its own loopback. Elsewhere it runs as the user who
started the sandbox, without isolation.

Run as a program it brings the loopback up, as an engine does for `--network none`, and becomes the command that follows:
`python -I -S containment.py COMMAND…`.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
READS_ALL = "-all,+dac_read_search"
"""Capabilities to read as root, but write only as the user: a folder above the sandbox's may be closed to other users."""


def command(user: str, network: str, paths: list[Path]) -> list[str]:
    """The prefix of a container's command line that isolates it. `user` is `UID:GID` and must be able to read `paths`."""
    if not is_root():
        return []
    alone = ["unshare", "--net", sys.executable, "-I", "-S", __file__] if network == "none" and works(["unshare", "--net"], "true") else []
    return [*alone, *as_user(user, paths)]


def as_user(user: str, paths: list[Path]) -> list[str]:
    number, _, group = user.partition(":")
    setpriv = ["setpriv", f"--reuid={number}", f"--regid={group or number}", "--clear-groups", "--no-new-privs"]
    for words in ([*setpriv, "--inh-caps=-all"], [*setpriv, f"--inh-caps={READS_ALL}", f"--ambient-caps={READS_ALL}"]):
        if works(words, "ls", *map(str, paths)):  # `ls` really opens them: access(2) does not know of capabilities
            return words
    return []


def is_root() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0


def works(words: list[str], *program: str) -> bool:
    """Whether a wrapper command is installed and may start this program."""
    if shutil.which(words[0]) is None:
        return False
    return subprocess.run([*words, *program], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=20).returncode == 0


def raise_loopback() -> None:
    """Bring up the loopback device, as `ip link set lo up` does (https://man7.org/linux/man-pages/man7/netdevice.7.html)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


if __name__ == "__main__":
    raise_loopback()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the container's own command
