"""The system calls that a program in the sandbox may not make. Standard library alone: it runs inside the sandbox."""

from __future__ import annotations

import ctypes
import platform
import struct

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Where `struct seccomp_data` has the call, the architecture and the low half of the first argument."""
_ALLOW, _KILL, _REFUSE, _UNKNOWN = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
"""Verdicts: allow, kill the process, EPERM, ENOSYS."""
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020080
"""CLONE_NEW*: time, mount, cgroup, UTS, IPC, user, PID, network."""
_AF_UNIX = 1

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""Machine -> AUDIT_ARCH, and the column of its call numbers in `_REFUSED`."""
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)

_REFUSED: dict[str, tuple[int, int]] = {
    # Memory that no limit on a process counts.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    # Other views of the system.
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    # Other processes' memory, and files of theirs.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # The kernel itself; io_uring would go round this filter.
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "swapon": (167, 224),
    "reboot": (169, 142),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def install() -> None:
    """Refuse those calls from now on, to this process and all it starts; OSError where the kernel has no such filters.

    Sockets are refused but for local ones (pairs and the sandbox's own folder): network namespaces leave some families
    (vsock, which reaches a virtual machine's host) as they are.
    """
    code = _filter(platform.machine())
    instructions = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(instructions, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "seccomp: the kernel does not filter system calls")


def _filter(machine: str) -> bytes:
    """The filter in BPF, each check a jump over its verdict where it does not apply."""
    if machine not in _ARCHITECTURES:
        raise OSError(0, f"seccomp: no list of system calls for {machine} processors, only {', '.join(_ARCHITECTURES)}")
    architecture, column = _ARCHITECTURES[machine]
    code = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, architecture, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        code += [_step(_AT_LEAST, _X32, 0, 1), _step(_RETURN, _KILL)]
    for numbers in _REFUSED.values():
        code += [_step(_EQUAL, numbers[column], 0, 1), _step(_RETURN, _REFUSE)]
    # The flags of clone3 lie in memory, out of the filter's sight: C libraries then use clone.
    code += [_step(_EQUAL, _CLONE3[column], 0, 1), _step(_RETURN, _UNKNOWN)]
    code += [_step(_EQUAL, _CLONE[column], 0, 4), _step(_LOAD, _FIRST_ARGUMENT), _step(_ANY_BIT, _NEW_NAMESPACES, 0, 1)]
    code += [_step(_RETURN, _REFUSE), _step(_RETURN, _ALLOW)]
    code += [_step(_EQUAL, _SOCKET[column], 0, 3), _step(_LOAD, _FIRST_ARGUMENT), _step(_EQUAL, _AF_UNIX, 1, 0)]
    code += [_step(_RETURN, _REFUSE), _step(_RETURN, _ALLOW)]
    return b"".join(code)


def _step(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", operation, if_true, if_false, value)
