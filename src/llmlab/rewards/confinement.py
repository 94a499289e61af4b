"""What the process of a reward gives up before it runs a line of the user's: the network, other processes, files, a user's rights, memory.

Each confinement is tried; one that this system does not have is reported by name, and no reason to stop.
"""

import ctypes
import os
import resource
import signal
import sys

from llmlab.rewards import landlock, seccomp

NOBODY = 65534
"""The user without files: https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/usernames.html."""
MOST_FILE_BYTES = 64 << 20
MOST_OPEN_FILES = 256
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/etc/ssl/openssl.cnf", "/opt/torch", "/opt/llmlab")
"""Where libraries, time zones and character sets are; the last two are the training image's. Nothing of them is a secret."""
SET_PDEATHSIG, SET_NO_NEW_PRIVS = 1, 38
"""`prctl`'s: https://man7.org/linux/man-pages/man2/prctl.2.html."""
CAPSET = {"x86_64": 126, "aarch64": 91}
CAPABILITIES_VERSION = 0x20080522


def confine(scratch: str, memory_bytes: int) -> tuple[list[str], list[str]]:
    """Keep this process and its threads to their scratch folder; returns what holds them, and what nothing keeps them from."""
    holds, lacks = _limits(memory_bytes)
    if not sys.platform.startswith("linux"):
        return holds, [*lacks, "the network", "starting programs", "reading and writing files"]
    libc = ctypes.CDLL(None, use_errno=True)
    reads = _read_folders()
    own_user = _become_nobody(scratch)
    libc.prctl(SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of user takes it back, so it comes after
    if not own_user and os.geteuid() == 0:
        _drop_capabilities(libc)
    libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    abi = landlock.restrict(libc, [*reads, *DEVICES], [scratch, "/dev/null"])
    filtered = seccomp.restrict(libc)
    holds += ["a user of its own"] if own_user else []
    holds += [f"Landlock {abi}"] if abi else []
    holds += ["a filter of system calls"] if filtered else []
    lacks += [] if filtered else ["starting programs"] if abi >= landlock.NETWORK_VERSION else ["the network", "starting programs"]
    if not abi:
        lacks += ["reading and writing files that every user may"] if own_user else ["reading and writing files"]
    return holds, lacks


def _limits(memory_bytes: int) -> tuple[list[str], list[str]]:
    """Limits of memory, of a file's size, of open files and of core dumps; hard, so that nobody takes them back."""
    lacks = []
    for what, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, MOST_FILE_BYTES), (resource.RLIMIT_NOFILE, MOST_OPEN_FILES)):
        _, hard = resource.getrlimit(what)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (limit, limit))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    except (ValueError, OSError):
        lacks.append("using all memory")  # macOS takes no such limit
    return ([] if lacks else ["a limit of memory"]), lacks


def _read_folders() -> list[str]:
    """What Python itself and the packages of this environment are read from."""
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *(path for path in sys.path if path), *SYSTEM}
    folders |= {os.path.realpath(path) for path in folders}
    return sorted(path for path in folders if path != "/")


def _become_nobody(scratch: str) -> bool:
    """Be a user that owns nothing but the scratch folder, where this one may be another and Python can be read by it."""
    if os.geteuid() != 0:
        return False
    needed = [path for path in (os.__file__, *sys.path) if os.path.exists(path)]  # noqa: PTH110
    groups = os.getgroups()
    try:
        os.chown(scratch, NOBODY, NOBODY)
        os.setgroups([])
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    except OSError:
        return False
    if not all(os.access(path, os.R_OK, effective_ids=True) for path in needed):
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
        os.chown(scratch, 0, 0)
        return False
    os.seteuid(0)
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    return True


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Of root leave the name alone: https://man7.org/linux/man-pages/man2/capset.2.html."""
    number = CAPSET.get(os.uname().machine)
    if number is not None:
        libc.syscall(number, (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0), (ctypes.c_uint32 * 6)())
