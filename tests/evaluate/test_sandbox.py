"""Programs that try to get out of the sandbox, or to use the machine up. Nothing leaves it, and none of them passes."""

from __future__ import annotations

import functools
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from siftune.evaluate import sandbox
from siftune.evaluate.execution import CodeExecution
from siftune.evaluate.sandbox import SandboxError, Verdict, check_sandbox, execute

LIMITS = CodeExecution(cpu_seconds=1, wall_seconds=300, memory_mb=192, processes=16, scratch_mb=4, output_kb=64)


@pytest.fixture(autouse=True, scope="module")
def _possible() -> None:
    try:
        check_sandbox(LIMITS)
    except SandboxError as error:
        pytest.skip(f"no sandbox here: {error}")


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        # Using the machine up.
        ("while True: pass", "SIGXCPU|SIGKILL"),
        (
            "import signal\nsignal.signal(signal.SIGXCPU, lambda *a: None)\nwhile True:\n try:\n  while True: pass\n"
            " except BaseException: pass",
            "SIGKILL",
        ),
        ("import os, time\nn = 0\nwhile os.fork(): n += 1\ntime.sleep(9)", "temporarily unavailable"),
        ("import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,)).start()", "new thread"),
        ("bytearray(10**10)", "MemoryError"),
        (
            "import os, time\nfor _ in range(5):\n if not os.fork(): break\nx = bytearray(60 << 20)\ntime.sleep(9)",
            "more than 192 MB",
        ),
        ("import os; os.memfd_create('x')", "not permitted"),
        ("open('a', 'wb').write(bytes(5 << 20))", "File too large"),
        ("for i in range(9): open(str(i), 'wb').write(bytes(1 << 20))", "No space left"),
        ("while True: print('x' * 10**5)", "printed more than 64 KB"),
        ("import os\nwhile True: os.write(2, bytes(10**5))", "printed more than 64 KB"),
        # Files of others.
        ("import os; os.remove('/usr/lib/os-release')", "Read-only file system|No such file"),
        ("open('/new', 'w')", "Read-only file system"),
        ("open('/etc/passwd')", "No such file"),
        ("open('/proc/1/environ')", "Permission denied"),
        ("open('/proc/1/mem', 'rb+')", "Permission denied"),
        ("open('/proc/sys/kernel/hostname', 'w')", "Permission denied"),
        # Other processes, other rights.
        (
            "import os, time\nfor n in (2, 9, 15, 19):\n try: os.kill(1, n)\n except OSError: pass\n"
            "time.sleep(0.2)\nraise ValueError('still watched')",
            "still watched",
        ),
        (
            "import os; assert [p for p in os.listdir('/proc') if p.isdigit()] != ['1', str(os.getpid())]",
            "AssertionError",
        ),
        ("import os; os.setuid(0)", "Invalid argument|not permitted"),
        ("import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0", "AssertionError"),
        ("import ctypes; assert ctypes.CDLL(None).mount(b'x', b'/scratch', b'tmpfs', 0, None) == 0", "AssertionError"),
        ("import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "not allowed"),
        # Network.
        ("import socket; socket.socket(socket.AF_INET)", "not permitted"),
        ("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "not permitted"),
        ("import socket; socket.socket(40, socket.SOCK_STREAM)", "not permitted"),
        ("import socket; socket.getaddrinfo('example.com', 80)", "gaierror"),
        # Ending before the tests.
        ("import sys; sys.exit(0)", "SystemExit"),
        ("import os; os._exit(0)", "before its tests"),
        (
            "import os\nfor fd in range(99):\n try: os.write(fd, b'passed')\n except OSError: pass\nos._exit(0)",
            "passed",
        ),
        ("import os\nif os.fork(): raise ValueError('the parent failed')", "the parent failed"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("input()", "EOFError"),
        ("x = '\ud800'", "surrogates"),
        ("assert 1 == 2, 'no'", "AssertionError: no"),
    ],
)
def test_it_fails(program: str, reason: str) -> None:
    verdict = execute(program, LIMITS)
    assert not verdict.passed
    assert re.search(reason, verdict.reason), verdict.reason


@pytest.mark.parametrize(
    "program", ["import time; time.sleep(99)", "import os\nwhile True:\n try: os.fork()\n except OSError: pass"]
)
def test_sleep_and_fork_bombs_end_in_time(program: str) -> None:
    limits = CodeExecution(wall_seconds=0.5, memory_mb=1024)
    assert execute(program, limits).reason == "did not end within 0.5 s"


@pytest.mark.parametrize(
    "program",
    [
        "",
        "import numpy; assert numpy.ones(3).sum() == 3",
        pytest.param(
            "open('file', 'w').write('x'); assert open('/tmp/file').read() == 'x'",
            marks=pytest.mark.skipif(sys.prefix.startswith("/tmp/"), reason="Python lies in /tmp, so it is no scratch"),
        ),
        "import tempfile; assert tempfile.TemporaryFile('w').write('x') == 1",
        "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
        "import subprocess, sys; assert subprocess.run([sys.executable, '-c', 'print(2)']).returncode == 0",
        "import multiprocessing as m\nwith m.get_context('fork').Pool(2) as p: assert p.map(abs, [-1]) == [1]",
    ],
)
def test_what_programs_need_works(program: str) -> None:
    verdict = execute(program, CodeExecution(cpu_seconds=10, wall_seconds=60))
    assert verdict.passed, verdict.reason


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    """A TCP server, and a local one with an abstract name."""
    tcp, local = socket.socket(), socket.socket(socket.AF_UNIX)
    tcp.bind(("127.0.0.1", 0))
    local.bind(f"\0siftune-{os.getpid()}")
    for server in (tcp, local):
        server.listen()
        server.setblocking(False)
    yield [tcp, local]
    tcp.close()
    local.close()


def test_servers_of_the_machine_are_out_of_reach(listeners: list[socket.socket]) -> None:
    tcp, local = listeners
    to_tcp = f"import socket; socket.create_connection({tcp.getsockname()!r})"
    to_local = f"import socket; socket.socket(socket.AF_UNIX).connect({local.getsockname()!r})"
    assert "not permitted" in execute(to_tcp, LIMITS).reason
    assert "refused" in execute(to_local, LIMITS).reason
    for server in listeners:
        with pytest.raises(BlockingIOError):
            server.accept()


def test_secrets_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    secret = tmp_path / "token"
    secret.write_text("secret")
    seen = execute("import os; raise ValueError(sorted(os.environ))", LIMITS).reason
    assert "HOME" in seen
    assert "TOKEN" not in seen
    assert "No such file" in execute(f"open({str(secret)!r})", LIMITS).reason
    assert "No such file" in execute(f"open({str(Path.home() / '.bashrc')!r})", LIMITS).reason
    deletes = f"import shutil; shutil.rmtree({str(tmp_path)!r}, ignore_errors=True); shutil.rmtree('/usr', True)"
    execute(deletes, LIMITS)
    assert secret.read_text() == "secret"
    assert Path("/usr/bin").is_dir()


def test_daemons_end_with_the_program() -> None:
    name = f"sft-{os.getpid()}"
    daemon = (
        "import ctypes, os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        ctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0)\n"
        "        open('there', 'w').close()\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\n"
        "while not os.path.exists('there'): time.sleep(0.01)\n"
    )
    assert execute(daemon, LIMITS).passed
    assert name not in names_of_processes()


def test_it_ends_when_siftune_is_killed() -> None:
    name = f"sfk-{os.getpid()}"
    program = f"import ctypes, time; ctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0); time.sleep(600)"
    call = f"execute({program!r}, CodeExecution(wall_seconds=600))"
    imports = "from siftune.evaluate.sandbox import execute; from siftune.evaluate.execution import CodeExecution"
    siftune = subprocess.Popen([sys.executable, "-c", f"{imports}; {call}"])
    try:
        assert soon(lambda: name in names_of_processes())
    finally:
        siftune.kill()
        siftune.wait()
    assert soon(lambda: name not in names_of_processes())


def soon(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within a minute, in which busy machines manage anything."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def names_of_processes() -> set[str]:
    names = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            names.add(path.read_text().strip())
        except OSError:
            continue
    return names


def test_every_right_is_given_up() -> None:
    lines = "[line.split() for line in open('/proc/self/status') if line[:3] in ('Cap', 'Uid', 'NoN', 'Sec')]"
    status = execute(f"s = dict((l[0], l[1]) for l in {lines}); raise ValueError(s)", LIMITS).reason
    for expected in ("'CapEff:': '0000000000000000'", "'Uid:': '65534'", "'NoNewPrivs:': '1'", "'Seccomp:': '2'"):
        assert expected in status


def test_without_root_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a user namespace, in which the processes of the sandbox are counted apart."""
    if os.geteuid() != 0 or not Path("/usr/bin/python3").exists():
        pytest.skip("needs root, to become another user, and a Python that the other user can read")
    popen = functools.partial(subprocess.Popen, user=12345, group=12345, extra_groups=[])
    monkeypatch.setattr(sandbox.subprocess, "Popen", popen)
    monkeypatch.setattr(sandbox, "_python", lambda: os.path.realpath("/usr/bin/python3"))
    monkeypatch.setattr(sandbox, "_shown", sandbox._shown.__wrapped__)
    try:
        check_sandbox(LIMITS)
    except SandboxError as error:
        pytest.skip(f"no user namespaces here: {error}")
    assert "temporarily unavailable" in execute("import os, time\nwhile os.fork(): 0\ntime.sleep(9)", LIMITS).reason
    assert "Read-only" in execute("open('/new', 'w')", LIMITS).reason
    test_every_right_is_given_up()


def test_a_machine_without_namespaces_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_START", 'print(\'{"refused": "new user namespace: Operation not permitted"}\')')
    with pytest.raises(SandboxError, match=r"Operation not permitted\), so none is executed.*max_user_namespaces"):
        check_sandbox(LIMITS)


def test_limits_that_no_program_can_keep_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "execute", lambda program, limits: Verdict(bool(program), "killed by SIGXCPU"))
    with pytest.raises(SandboxError, match=r"even an empty program fails .*SIGXCPU"):
        check_sandbox(LIMITS)
    with pytest.raises(ValueError, match="memory_mb=64"):
        CodeExecution(memory_mb=64)
