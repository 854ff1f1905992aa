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
from matplotlib.figure import Figure

from siftune.runs.reporting.content import Cell, Column, Example, Part, Picture, Report, Table

HOSTILE = "<script>document.title = 'taken over'</script><img src=x onerror=\"document.title = 'taken over'\">"


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


@pytest.fixture(scope="session")
def full_report() -> Report:
    """A report with everything that one may hold, and a row of a pool that would like to take over the page."""
    rows = [("a", 1.5, "best"), ("b", None, ""), ("c", -2.0, ""), ("d", 1.5, "second seed"), ("e", 10.0, "")]
    names = Column(header="method", numeric=False)
    numbers = [Column(header=f"task {n} ↑", detail="exact_match") for n in range(12)]
    scores = tuple((Cell(text=name, value=name), *(_score(value, note) for _ in numbers)) for name, value, note in rows)
    long = tuple((Cell(text=f"row {n:03}", value=f"row {n:03}"), Cell(text=str(n), value=n)) for n in range(40))
    tables = [
        Table(name="leaderboard", columns=(names, *numbers), rows=scores, caption="tiny: pool skills"),
        Table(name="long", columns=(names, numbers[0]), rows=long, caption="Stages", collapsed=True),
    ]
    pictures = [
        Picture(name="lines", figure=_lines(), caption="Two lines."),
        Picture(name="heat", figure=_heat(), caption="A heat map."),
        Picture(name="cloud", figure=_cloud(), caption="A cloud of points."),
    ]
    example = Example(title=f"row 7 {HOSTILE}", turns=(("user", HOSTILE), ("assistant", "```\n| a |\n```")))
    return Report(
        title="A <report> & more",
        subtitle="5 runs",
        parts=[
            Part(name="scores", title="Leaderboard", text=["First.", "See https://arxiv.org/abs/1."], tables=tables),
            Part(name="picks", title="Picks", pictures=pictures, examples=[("random: seed 0", [example] * 5)]),
        ],
    )


def _score(value: float | None, note: str) -> Cell:
    return Cell(text="–" if value is None else f"{value:.1f}", value=value, best=value == 10, note=note)


def _lines() -> Figure:
    figure = Figure(figsize=(9, 4))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#332288", label=HOSTILE)
    axes.bar([0.5], [0.4], width=0.2, color="#882255")
    axes.text(0.5, 0.2, "in", color="white")
    axes.text(0.1, 0.8, "out", color="black")
    axes.legend()
    return figure


def _heat() -> Figure:
    figure = Figure(figsize=(5, 4))
    axes = figure.subplots()
    axes.imshow([[0, 1], [1, 0]], cmap="Blues")
    axes.text(0, 1, "1", color="white")
    return figure


def _cloud() -> Figure:
    figure = Figure(figsize=(5, 4))
    axes = figure.subplots()
    places = range(2_500)
    axes.scatter(places, [place % 50 for place in places], s=2, color="#CFCFCF")
    axes.scatter([10, 20], [10, 20], color="#0072B2")
    return figure
