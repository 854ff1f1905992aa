"""Starting runs again, from what was kept of them: the composed config, in the folder it was composed in."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from siftune.runs import commands
from siftune.runs.attempts import Attempt, inside
from siftune.runs.build import ConfigError
from siftune.runs.listing.stored_runs import Run


def command_of(run: Run, store: Path) -> list[str]:
    """What to type to start this run again."""
    return ["siftune", "runs", f"store={store}", f"relaunch={run.short_id}"]


def print_commands(runs: Sequence[Run], store: Path, console: Console) -> None:
    """The commands that start these runs again, each under the overrides that it was first started with."""
    for run in runs:
        overrides = "" if run.attempt is None else shlex.join(run.attempt.overrides)
        lines = [f"# {run.label}, seed {run.seed}, {run.state}: {overrides}", shlex.join(command_of(run, store))]
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def start_again(run: Run, store: Path) -> Path:
    """Make this run in this process; returns the folder of its record."""
    attempt = _restartable(run)
    if run.state == "running":
        raise ConfigError(f"{run.label}, seed {run.seed}, is running")
    if not Path(attempt.cwd).is_dir():
        raise ConfigError(f"{attempt.cwd}, where the run was started, and relative paths with it, is gone")
    node = {**attempt.node, "store": str(store)}
    with inside(attempt.cwd):
        commands.check_run(node)
        commands.before_run([node])
        return commands.run(node, attempt.overrides)


def start_all_again(runs: Sequence[Run], store: Path, console: Console) -> None:
    """Make these runs one after another, each in a process of its own; the exit code is 1 where one fails."""
    for run in runs:
        _restartable(run)
    failed = []
    for run in runs:
        console.print(shlex.join(command_of(run, store)), markup=False, soft_wrap=True)
        command = [sys.executable, "-m", "siftune.runs.main", *command_of(run, store)[1:]]
        if subprocess.run(command).returncode != 0:
            failed.append(run)
    if failed:
        names = "; ".join(f"{run.label}, seed {run.seed}" for run in failed)
        sys.exit(f"siftune: {len(failed)} of {len(runs)} runs failed: {names}")


def _restartable(run: Run) -> Attempt:
    if run.attempt is None:
        raise ConfigError(
            f"{run.label}, seed {run.seed} ({run.short_id}) was recorded by a siftune that did not keep how to "
            "start it again: type its command"
        )
    return run.attempt
