"""One program in the sandbox: executed, watched and ended. Standard library alone, in a process of its own.

Three processes: the outer one leaves the machine's namespaces; its child, the first process of the new ones, builds the
view and watches (with its end the kernel ends every process of the sandbox, wherever it has gone); the program's own.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

from siftune.evaluate.sandbox_seccomp import install
from siftune.evaluate.sandbox_view import become_nobody, build, end_with_parent, leave

_PAGE = resource.getpagesize()
_LOOK_SECONDS = 0.05
_REPORT_BYTES = 4096


def main() -> None:
    """Read a request from standard input, write {"passed", "reason"} or {"refused"} to standard output."""
    request = json.loads(sys.stdin.buffer.read())
    os.umask(0o022)
    try:
        leave()
    except OSError as error:
        _answer({"refused": error.strerror or str(error)})
        return
    end_with_parent()
    watcher = os.fork()
    if watcher == 0:
        _watch(request)
        os._exit(0)
    os.waitpid(watcher, 0)


def _watch(request: dict[str, Any]) -> None:
    """The first process of the namespaces: no signal of the program reaches it."""
    end_with_parent()
    for number in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    output, reports = os.pipe(), os.pipe()
    try:
        build(request["shown"], request["scratch_mb"])
    except OSError as error:
        _answer({"refused": error.strerror or str(error)})
        return
    program = os.fork()
    if program == 0:
        _execute(request, output[1], reports[1])
    os.close(output[1])
    os.close(reports[1])
    stopped = _until_the_end(program, output[0], request)
    if stopped:
        _answer({"passed": False, "reason": stopped})
    else:
        _answer(_verdict(os.waitpid(program, 0)[1], _read_some(reports[0]), request["token"]))


def _until_the_end(program: int, output: int, request: dict[str, Any]) -> str | None:
    """Wait for the program's end; why it had to be stopped before it."""
    deadline, printed, reads = time.monotonic() + request["wall_seconds"], 0, True
    ended = os.pidfd_open(program)
    while True:
        ready, _, _ = select.select([ended, *([output] if reads else [])], [], [], _LOOK_SECONDS)
        if output in ready:
            found = len(os.read(output, 1 << 16))
            reads, printed = found > 0, printed + found
        if printed > request["output_kb"] * 1024:
            return f"printed more than {request['output_kb']} KB"
        if _resident_bytes() > request["memory_mb"] << 20:
            return f"its processes used more than {request['memory_mb']} MB of memory"
        if ended in ready:
            return None
        if time.monotonic() > deadline:
            return f"did not end within {request['wall_seconds']:g} s"
        _reap(program)


def _verdict(status: int, report: bytes, token: str) -> dict[str, Any]:
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return {"passed": False, "reason": f"killed by {name}"}
    passed = os.WEXITSTATUS(status) == 0 and report == f"passed {token}".encode()
    reason = "" if passed else report.decode(errors="replace") or "ended before its tests had run"
    return {"passed": passed, "reason": reason}


def _execute(request: dict[str, Any], output: int, reports: int) -> None:
    """The program's process; it does not return."""
    leave_at_once, write = os._exit, os.write
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.setsid()
        nothing = os.open("/dev/null", os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        for number in (int(name) for name in os.listdir("/proc/self/fd")):
            if number > 2 and number != reports:
                with contextlib.suppress(OSError):
                    os.close(number)
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
        become_nobody()
        _limit(request)
        install()
    except OSError as error:
        write(reports, f"refused {request['token']} {error.strerror or error}".encode())
        leave_at_once(1)
    passed, source = f"passed {request['token']}".encode(), request["program"]
    sys.path.extend(request["packages"])
    for name in [name for name in sys.modules if name.partition(".")[0] == "siftune"]:
        del sys.modules[name]
    request.clear()
    gc.collect()
    try:
        exec(compile(source, "<program>", "exec"), {})
    except BaseException as error:
        with contextlib.suppress(BaseException):
            write(reports, f"{type(error).__name__}: {error}"[:300].encode(errors="replace"))
        leave_at_once(1)
    write(reports, passed)
    leave_at_once(0)


def _limit(request: dict[str, Any]) -> None:
    limits = {
        resource.RLIMIT_CPU: request["cpu_seconds"],
        resource.RLIMIT_AS: request["memory_mb"] << 20,
        resource.RLIMIT_NPROC: request["processes"],
        resource.RLIMIT_FSIZE: request["scratch_mb"] << 20,
        resource.RLIMIT_NOFILE: 128,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for kind, value in limits.items():
        _, most = resource.getrlimit(kind)
        allowed = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (allowed, allowed))


def _resident_bytes() -> int:
    """Resident memory of all processes of the sandbox but this one."""
    total = 0
    for pid in _others():
        with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/statm", encoding="ascii") as file:
            total += int(file.read().split()[1]) * _PAGE
    return total


def _others() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1")


def _reap(program: int) -> None:
    """Collect processes whose parent has ended, so that they do not count any more."""
    for pid in _others():
        if pid != program:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _read_some(reports: int) -> bytes:
    # Without waiting: processes that the program left behind may hold the other end open.
    os.set_blocking(reports, False)
    try:
        return os.read(reports, _REPORT_BYTES)
    except BlockingIOError:
        return b""


def _answer(value: dict[str, Any]) -> None:
    os.write(1, json.dumps(value).encode())
