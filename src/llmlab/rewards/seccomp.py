"""A filter of system calls: no sockets, no new processes, no word to other processes. Linux, on the two architectures that machines have.

The filter is a program of classic BPF: https://docs.kernel.org/userspace-api/seccomp_filter.html. Numbers of calls are of
https://github.com/torvalds/linux/blob/master/arch/x86/entry/syscalls/syscall_64.tbl and
https://github.com/torvalds/linux/blob/master/scripts/syscall.tbl (64-bit ARM).
"""

import ctypes
import errno
import os
import platform

ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""`AUDIT_ARCH_…` of linux/audit.h, and the column of the table below."""
DENIED = {
    "socket": (41, 198), "socketpair": (53, 199), "fork": (57, -1), "vfork": (58, -1), "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "kill": (62, 129), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "io_uring_setup": (425, 425), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "unshare": (272, 97),
    "setns": (308, 268), "mount": (165, 40), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180), "memfd_create": (319, 279),
}  # fmt: skip
"""io_uring makes sockets, too; shared memory, queues and memory files are not counted as a process's own memory."""
CLONE, CLONE3, TGKILL, PRLIMIT = (56, 220), (435, 435), (234, 131), (302, 261)
CLONE_THREAD = 0x10000
X32 = 0x40000000
"""Numbers from here on are x86's other calling convention, which would pass the table by."""

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""`BPF_LD|W|ABS`, `BPF_JMP|JEQ|K`, `BPF_JMP|JGE|K`, `BPF_JMP|JSET|K`, `BPF_RET|K` of linux/bpf_common.h."""
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
"""Where they stand in `struct seccomp_data`; of an argument its lower half."""
SET_SECCOMP, MODE_FILTER = 22, 2
"""`prctl`'s."""


class Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(Instruction)))


def program(machine: str, pid: int) -> list[tuple[int, int, int, int]]:
    """The filter's instructions as (code, jump if true, jump if false, constant), for the process `pid`; none for an unknown machine."""
    if machine not in ARCHITECTURES:
        return []
    name, column = ARCHITECTURES[machine]
    refuse = (RETURN, 0, 0, REFUSE | errno.EPERM)
    instructions = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, name), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    if machine == "x86_64":
        instructions += [(AT_LEAST, 0, 1, X32), refuse]
    for numbers in DENIED.values():
        if numbers[column] >= 0:
            instructions += [(EQUAL, 0, 1, numbers[column]), refuse]
    # glibc asks for threads by clone where there is no clone3, and the filter cannot read what clone3's pointer points to
    instructions += [(EQUAL, 0, 1, CLONE3[column]), (RETURN, 0, 0, REFUSE | errno.ENOSYS)]
    allow = (RETURN, 0, 0, ALLOW)
    instructions += [(EQUAL, 0, 4, CLONE[column]), (LOAD, 0, 0, FIRST_ARGUMENT), (ANY_BIT, 0, 1, CLONE_THREAD), allow, refuse]
    instructions += [(EQUAL, 0, 4, TGKILL[column]), (LOAD, 0, 0, FIRST_ARGUMENT), (EQUAL, 0, 1, pid), allow, refuse]
    instructions += [(EQUAL, 0, 5, PRLIMIT[column]), (LOAD, 0, 0, FIRST_ARGUMENT), (EQUAL, 1, 0, 0), (EQUAL, 0, 1, pid), allow, refuse]
    return [*instructions, allow]


def restrict(libc: ctypes.CDLL) -> bool:
    """Put the filter on this process and its threads; whether the kernel took it. It has said that it wants no new privileges."""
    instructions = program(platform.machine(), os.getpid())
    if not instructions:
        return False
    array = (Instruction * len(instructions))(*(Instruction(*each) for each in instructions))
    return int(libc.prctl(SET_SECCOMP, MODE_FILTER, ctypes.byref(Program(len(instructions), array)), 0, 0)) == 0
