"""`siftune run` in a process of its own, to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest


class RunCommand:
    """The command with some overrides."""

    def __init__(self, overrides: Sequence[str]) -> None:
        self._overrides = overrides

    def finish(self, store: Path) -> str:
        """Run to the end; what it said on stderr."""
        process = self._start(store)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        return errors

    def kill_when(self, store: Path, condition: Callable[[], bool]) -> None:
        """SIGKILL as soon as the condition holds."""
        process = self._start(store)
        try:
            deadline = time.monotonic() + 240
            while not condition():
                assert process.poll() is None, (
                    f"the run ended before it could be killed: {process.stderr and process.stderr.read()}"
                )
                assert time.monotonic() < deadline, "the stage to kill in never came"
                time.sleep(0.002)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self, store: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "siftune.runs.main", "run", *self._overrides, f"store={store}"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ)


@pytest.fixture(scope="module")
def run_command(request: pytest.FixtureRequest) -> RunCommand:
    """With the OVERRIDES of the module that asks."""
    return RunCommand(request.module.OVERRIDES)
