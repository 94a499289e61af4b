"""Landlock: a process says which folders it goes on using, and the kernel holds it to that. Linux 5.13 and newer, without being root.

https://docs.kernel.org/userspace-api/landlock.html tells of rights and versions; the numbers are those of
https://github.com/torvalds/linux/blob/master/include/uapi/linux/landlock.h and are the same on every architecture.
"""

import ctypes
import os
from collections.abc import Iterable

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls: https://github.com/torvalds/linux/blob/master/scripts/syscall.tbl."""
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
READS = EXECUTE | READ_FILE | READ_DIR
FILES = {1: 13, 2: 14, 3: 15, 5: 16}
"""From which version on the kernel knows how many rights to files: `REFER` came with 2, `TRUNCATE` with 3, `IOCTL_DEV` with 5."""
NETWORK_VERSION, TCP = 4, 0b11
"""`BIND_TCP` and `CONNECT_TCP`; UDP is not among them, so that `seccomp` has the rest."""
SCOPE_VERSION, SCOPES = 6, 0b11
"""Abstract Unix sockets and signals to processes outside."""
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14 | 1 << 15
"""The rights that a rule on a single file may name."""


class Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64), ("handled_access_net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # packed structures want it said since Python 3.14
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def version(libc: ctypes.CDLL) -> int:
    """The version of the kernel's Landlock; 0 where there is none."""
    return max(0, int(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), CREATE_RULESET_VERSION)))


def restrict(libc: ctypes.CDLL, reads: Iterable[str], writes: Iterable[str]) -> int:
    """Keep this process to reading below `reads`, to reading and writing below `writes`, and from TCP. The version that holds it; 0: none.

    The process has said before that it wants no new privileges.
    """
    abi = version(libc)
    if not abi:
        return 0
    every = (1 << FILES[max(known for known in FILES if known <= abi)]) - 1
    attributes = Ruleset(every, TCP if abi >= NETWORK_VERSION else 0, SCOPES if abi >= SCOPE_VERSION else 0)
    size = 24 if abi >= SCOPE_VERSION else 16 if abi >= NETWORK_VERSION else 8
    ruleset = int(libc.syscall(CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0))
    if ruleset < 0:
        return 0
    try:
        for rights, paths in ((READS, reads), (every & ~EXECUTE, writes)):
            for path in paths:
                _allow(libc, ruleset, path, rights)
        return abi if libc.syscall(RESTRICT_SELF, ruleset, 0) == 0 else 0
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        number = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no right
    try:
        folder = os.path.isdir(path)  # noqa: PTH112 - the process has the lightest of modules alone
        rule = PathBeneath(rights if folder else rights & OF_A_FILE, number)
        libc.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(number)
