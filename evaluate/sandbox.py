"""Executing a program that nobody has read: in processes without network, in a read-only view of the machine that holds
Python alone, with limits, and ended together with all that it started.

What encloses a program is the kernel's: namespaces (as root, or as a user where the kernel lets users have them), a
filter of system calls and limits on resources. Where one of them is missing nothing is executed.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import sysconfig
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from siftune.evaluate.execution import CodeExecution
from siftune.evaluate.tasks import EvaluationError

_START = """
import sys, types
sys.path[:] = [path for path in sys.path if path]
for name in ("siftune", "siftune.evaluate"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["siftune.evaluate"].__path__ = [sys.argv[1]]
from siftune.evaluate.sandbox_child import main
main()
"""
"""Python without site packages: `siftune` itself holds no more than these modules need."""

_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib")
_DATA = ("/etc/ld.so.cache", "/usr/share/zoneinfo")
_GRACE_SECONDS = 20.0


class SandboxError(EvaluationError):
    """The machine does not give what encloses a program."""


@dataclass(frozen=True)
class Verdict:
    """What became of a program."""

    passed: bool
    """Whether it ran to its end without an exception."""
    reason: str = ""
    """What it raised, or why it was stopped."""


def execute(program: str, limits: CodeExecution) -> Verdict:
    """Run a Python program in the sandbox; SandboxError where there can be none."""
    token = secrets.token_hex(16)
    packages = [path for path in dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")) if path]
    request = {**asdict(limits), "program": program, "token": token, "packages": packages, "shown": _shown()}
    process = subprocess.Popen(
        [_python(), "-s", "-S", "-B", "-c", _START, str(Path(__file__).parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        cwd="/",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(json.dumps(request).encode(), limits.wall_seconds + _GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        # A machine too busy to watch. The group holds the process whose end is that of all the others.
        return Verdict(False, f"did not end within {limits.wall_seconds:g} s")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.communicate()
    return _verdict(out, err, token)


def check_sandbox(limits: CodeExecution) -> None:
    """SandboxError with the remedy where this machine cannot enclose a program, or the limits are too low for any."""
    if sys.platform != "linux":
        raise SandboxError(_refusal(f"{sys.platform} has no namespaces"))
    verdict = execute("", limits)
    if not verdict.passed:
        raise SandboxError(f"evaluate.execution: even an empty program fails within these limits: {verdict.reason}")


def _verdict(out: bytes, err: bytes, token: str) -> Verdict:
    if not out:
        return Verdict(False, f"the sandbox broke: {err.decode(errors='replace').strip()[-300:]}")
    answer = json.loads(out)
    refused = answer.get("refused")
    if refused is None and answer["reason"].startswith(f"refused {token} "):
        refused = answer["reason"].split(" ", 2)[2]
    if refused is not None:
        raise SandboxError(_refusal(refused))
    return Verdict(bool(answer["passed"]), str(answer["reason"]))


def _refusal(reason: str) -> str:
    return (
        f"this machine cannot enclose programs that a model wrote ({reason}), so none is executed. It takes Linux 5.3 "
        "or later, and either root or user namespaces: `sysctl user.max_user_namespaces` above 0, on Ubuntu also "
        "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`; in a container `--privileged`, or a seccomp profile "
        "that allows unshare and mount, with /proc unmasked. Or leave the tasks that execute code out"
    )


def _python() -> str:
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


@cache
def _shown() -> list[str]:
    """What the program can see of the machine: the C libraries, Python, and the packages that this process has."""
    base = os.path.realpath(sys.base_prefix)
    packages = [sysconfig.get_path(name) for name in ("purelib", "platlib")]
    wanted = [*_LIBRARIES, *_DATA, _python(), f"{base}/lib", f"{base}/lib64", *packages]
    shown: list[str] = []
    for path in wanted:
        if os.path.exists(path) and not any(path == seen or path.startswith(f"{seen}/") for seen in shown):
            shown.append(path)
    return shown


def _environment() -> dict[str, str]:
    """Nothing of this process's own: variables hold tokens and keys."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    fixed = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/scratch",
        "TMPDIR": "/scratch",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
    }
    found = {"LD_LIBRARY_PATH": os.environ["LD_LIBRARY_PATH"]} if "LD_LIBRARY_PATH" in os.environ else {}
    return fixed | threads | found
