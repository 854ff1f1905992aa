"""What a person sees while an experiment runs: a line or two a stage, a progress bar under the long ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from siftune.runs.artifacts import Artifact, Stage
from siftune.runs.distributed import is_main_process
from siftune.selection.kernels.progress import listening

LINE_EVERY = 15.0
"""Seconds between the lines that stand in for a bar where the output is a file."""


class Bar:
    """The progress of a stage: a bar in a terminal, a line now and then in a log file."""

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars = bars
        self._task = task
        self._last_line = time.monotonic()

    def advance(self, rows: int) -> None:
        """So many more rows are done."""
        self._bars.advance(self._task, rows)
        self._line()

    def set(self, rows: int) -> None:
        """So many rows are done in all."""
        self._bars.update(self._task, completed=rows)
        self._line()

    def _line(self) -> None:
        if self._bars.console.is_terminal or time.monotonic() - self._last_line < LINE_EVERY:
            return
        self._last_line = time.monotonic()
        task = self._bars.tasks[self._task]
        of_total = "" if task.total is None else f" of {int(task.total):,}"
        self._bars.console.print(f"  {task.description}: {int(task.completed):,}{of_total}")


class StageConsole:
    """Prints stages as they start, wait, finish or are found in the store; silent on all ranks but the first."""

    def __init__(self, console: Console | None = None) -> None:
        quiet = not is_main_process()
        self.console = console or Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    def title(self, text: str) -> None:
        """A rule that separates experiments."""
        self.console.rule(f"[bold]{text}", align="left")

    def started(self, stage: Stage) -> None:
        """A stage that has to be computed begins."""
        self.console.print(f"[cyan]▶ {stage.kind}[/] {stage.name} [dim]{stage.fingerprint}")

    def waiting(self, stage: Stage) -> None:
        """Another process computes the same stage."""
        self.console.print(f"[yellow]… {stage.kind}[/] {stage.name}: another process computes it, waiting")

    def finished(self, artifact: Artifact, note: str = "") -> None:
        """A stage is there; `note` says what came out."""
        kind, name = artifact.record["kind"], artifact.record["name"]
        when = "[dim]found in the store[/]" if artifact.cached else f"{artifact.record['seconds']:.1f} s"
        self.console.print(f"[green]✔ {kind}[/] {name} [dim]{artifact.fingerprint}[/] {when}  {note}".rstrip())

    def say(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text)

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Bar]:
        """A bar over `total` rows (None where the number is not known before)."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        times = (TimeElapsedColumn(), TimeRemainingColumn())
        disable = not self.console.is_terminal
        with Progress(*columns, *times, console=self.console, transient=True, disable=disable) as bars:
            yield Bar(bars, bars.add_task(what, total=total))

    @contextmanager
    def kernels(self) -> Iterator[None]:
        """Inside, a bar for each thing that a selection kernel reports on, one after another."""
        with ExitStack() as bars:
            shown: dict[str, Bar] = {}

            def show(what: str, done: int, total: int) -> None:
                if what not in shown:
                    bars.close()
                    shown.clear()
                    shown[what] = bars.enter_context(self.progress(what, total=total))
                shown[what].set(done)

            with listening(show):
                yield
