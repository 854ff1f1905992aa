"""`siftune report`: finished runs side by side, as a table in the terminal, Markdown and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from siftune.runs.report_records import ReportError, RunRecord, choose, read_run, read_store
from siftune.runs.report_rows import sections
from siftune.runs.report_table import markdown, print_table

__all__ = [
    "ReportConfig",
    "ReportError",
    "ReportFiles",
    "RunRecord",
    "load_runs",
    "print_table",
    "read_runs",
    "write_report",
]


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Which runs to compare, and where to write the comparison."""

    store: Path = Path("siftune-store")
    """Folder of the artifacts whose runs are compared."""
    group: str | None = None
    """Only the runs of this group, and the base model if it was measured like them; None: all."""
    labels: tuple[str, ...] = ()
    """Only the runs of these labels; empty: all."""
    output: Path | None = None
    """Folder for report.md and the plots; None: <store>/report."""
    markdown: bool = True
    """Whether to write report.md."""
    plots: bool = True
    """Whether to draw the plots."""

    @property
    def folder(self) -> Path:
        """Where the report is written."""
        return self.output or self.store / "report"


@dataclass(frozen=True)
class ReportFiles:
    """What was written."""

    markdown: Path | None
    plots: tuple[Path, ...]

    def __str__(self) -> str:
        return ", ".join(str(path) for path in (self.markdown, *self.plots) if path is not None) or "nothing"


def load_runs(config: ReportConfig) -> list[RunRecord]:
    """The finished runs that the config asks for; ReportError where there is none.

    Records that cannot be read are named on stderr and left out."""
    stderr = Console(stderr=True, highlight=False)
    found = read_store(config.store, lambda text: stderr.print(text, style="yellow", markup=False, soft_wrap=True))
    if not found:
        raise ReportError(
            f"there is no finished run in the store {config.store}: start one with `siftune run`, "
            "or name another store with store=FOLDER"
        )
    chosen = choose(found, config.group, config.labels)
    if not chosen:
        groups = ", ".join(sorted({run.group for run in found if run.group is not None})) or "none"
        labels = ", ".join(sorted({run.label for run in found}))
        raise ReportError(
            f"no run of the store {config.store} matches group={config.group} labels={list(config.labels)}; "
            f"it has the groups {groups} and the labels {labels}"
        )
    return chosen


def read_runs(folders: Sequence[Path]) -> list[RunRecord]:
    """The records in these run folders; ReportError names one that is missing or unreadable."""
    return [read_run(folder) for folder in folders]


def write_report(runs: Sequence[RunRecord], folder: Path, config: ReportConfig | None = None) -> ReportFiles:
    """Write report.md, scores.png, sources.png and training.png (the last two where runs picked and trained).

    With several sections of comparable runs, the second one's pictures are scores-2.png and so on."""
    wanted = config or ReportConfig()
    folder.mkdir(parents=True, exist_ok=True)
    plots = _draw(runs, folder) if wanted.plots else [[] for _ in sections(runs)]
    path = folder / "report.md" if wanted.markdown else None
    if path is not None:
        path.write_text(markdown(runs, plots), encoding="utf-8")
    return ReportFiles(path, tuple(picture for pictures in plots for picture in pictures))


def _draw(runs: Sequence[RunRecord], folder: Path) -> list[list[Path]]:
    from siftune.runs.report_plots import scores_figure, sources_figure, training_figure

    draw = {"scores": scores_figure, "sources": sources_figure, "training": training_figure}
    drawn: list[list[Path]] = []
    for number, section in enumerate(sections(runs), start=1):
        drawn.append([])
        for name, function in draw.items():
            figure = function(section)
            if figure is not None:
                path = folder / (f"{name}.png" if number == 1 else f"{name}-{number}.png")
                figure.savefig(path)
                drawn[-1].append(path)
    return drawn
