"""What a person sees while an experiment runs: one line a stage, a progress bar under the long ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from siftune.runs.artifacts import Artifact, Stage
from siftune.runs.distributed import is_main_process

Advance = Callable[[int], None]
"""Called with the number of rows done since the last call."""


class StageConsole:
    """Prints stages as they start, wait, finish or are found in the store; silent on all ranks but the first."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, quiet=not is_main_process(), highlight=False, soft_wrap=True)

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
        self.console.print(f"[green]✔ {kind}[/] {name} [dim]{artifact.fingerprint}[/] {when}{'  ' + note if note else ''}")

    def say(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text)

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Advance]:
        """A bar over `total` rows (None where the number is not known before)."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as bars:
            task = bars.add_task(what, total=total)
            yield lambda rows: bars.advance(task, rows)
