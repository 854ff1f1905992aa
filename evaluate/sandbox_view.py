"""What a program in the sandbox sees: namespaces of its own. Standard library alone: it runs inside the sandbox."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable, Iterator

INSIDE = 65534
"""User and group of the program, "nobody"."""
SCRATCH = "/scratch"

_NEW_USER = 0x10000000
_NEW_REST = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
"""CLONE_NEW*: mount, cgroup, UTS, IPC, PID, network."""
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_EXECUTION = 1, 2, 4, 8
_REMOUNT, _NO_ACCESS_TIMES, _BIND, _RECURSIVE, _PRIVATE, _RELATIVE_TIMES = 32, 1024, 4096, 16384, 1 << 18, 1 << 21
_DETACH = 2
_OLD = "/old"
_DEVICES = ("null", "zero", "full", "random", "urandom")

libc = ctypes.CDLL(None, use_errno=True)


def leave() -> None:
    """Go into new namespaces (that of processes begins with the next child): no network, no other process, no user of
    the machine. As root outside of the sandbox the user changes later, in `become_nobody`."""
    if os.geteuid() == 0 and libc.unshare(_NEW_REST) == 0:
        return
    user, group = os.geteuid(), os.getegid()
    _check(libc.unshare(_NEW_USER | _NEW_REST), "new user namespace")
    map_to_nobody(user, group)


def end_with_parent() -> None:
    """The kernel kills this process when its parent ends."""
    libc.prctl(1, signal.SIGKILL, 0, 0, 0)


def map_to_nobody(user: int, group: int) -> None:
    """In a new user namespace the user is nobody."""
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{INSIDE} {user} 1")
    _write("/proc/self/gid_map", f"{INSIDE} {group} 1")


def build(shown: Iterable[str], scratch_mb: int) -> None:
    """A root folder that holds the paths in `shown`, read-only, an empty scratch folder, and nothing else."""
    _mount("none", "/", "", _RECURSIVE | _PRIVATE)
    _mount("tmpfs", "/tmp", "tmpfs", _NO_SETUID | _NO_DEVICES, "size=1m,mode=755")
    os.mkdir("/tmp" + _OLD)
    _check(libc.pivot_root(b"/tmp", ("/tmp" + _OLD).encode()), "pivot_root")
    os.chdir("/")
    for path in shown:
        _show(path)
    os.mkdir("/dev")
    for name in _DEVICES:
        _show_file(f"/dev/{name}")
    os.mkdir("/proc")
    _mount("proc", "/proc", "proc", _NO_SETUID | _NO_DEVICES | _NO_EXECUTION)
    os.mkdir(SCRATCH)
    options = f"size={scratch_mb}m,nr_inodes=10000,mode=700,uid={INSIDE},gid={INSIDE}"
    _mount("tmpfs", SCRATCH, "tmpfs", _NO_SETUID | _NO_DEVICES, options)
    for alias in ("/tmp", "/dev/shm"):
        # /tmp is there already where Python is installed below it; TMPDIR names the scratch folder in any case.
        if not os.path.lexists(alias):
            os.symlink(SCRATCH, alias)
    _check(libc.umount2(_OLD.encode(), _DETACH), "unmounting the machine's files")
    os.rmdir(_OLD)
    _mount("none", "/", "", _REMOUNT | _BIND | _READ_ONLY | _NO_SETUID | _NO_DEVICES)
    os.chdir(SCRATCH)
    _check(libc.sethostname(b"sandbox", 7), "sethostname")


def become_nobody() -> None:
    """Give up every right. Root becomes the user nobody, in a user namespace of its own where the kernel allows it:
    that counts the processes of each sandbox apart."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(INSIDE, INSIDE, INSIDE)
        os.setresuid(INSIDE, INSIDE, INSIDE)
        _dumpable(True)
        if libc.unshare(_NEW_USER) == 0:
            map_to_nobody(INSIDE, INSIDE)
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    _check(libc.capset(header, nothing), "giving up capabilities")
    _dumpable(False)


def _dumpable(value: bool) -> None:
    """Whether the process's files under /proc are its user's: needed to set up, no more once others may look in."""
    libc.prctl(4, int(value), 0, 0, 0)


def _show(path: str) -> None:
    source = _OLD + path
    if os.path.islink(source):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.lexists(path):
            os.symlink(os.readlink(source), path)
    elif os.path.isdir(source):
        os.makedirs(path, exist_ok=True)
        _mount(source, path, "", _BIND | _RECURSIVE)
        for point in _mount_points(path):
            _mount("none", point, "", _REMOUNT | _BIND | _READ_ONLY | _NO_SETUID | _NO_DEVICES | _locked(point))
    elif os.path.exists(source):
        _show_file(path)
        _mount("none", path, "", _REMOUNT | _BIND | _READ_ONLY | _NO_SETUID | _NO_DEVICES | _locked(path))


def _show_file(path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDONLY, 0o444))
    _mount(_OLD + path, path, "", _BIND)


def _mount_points(path: str) -> Iterator[str]:
    """`path` and what is mounted below it, as the old view of the processes tells."""
    with open(f"{_OLD}/proc/thread-self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split(" ")[4] for line in file]
    for point in points:
        plain = point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
        if plain == path or plain.startswith(path + "/"):
            yield plain


def _locked(path: str) -> int:
    """Restrictions of a mount that a user namespace may not lift."""
    flags = os.statvfs(path).f_flag
    return flags & (_NO_EXECUTION | _NO_ACCESS_TIMES | 2048) | (_RELATIVE_TIMES if flags & 4096 else 0)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    result = libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode()
    )
    _check(result, f"mounting {target}")


def _check(result: int, what: str) -> None:
    if result:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
