"""`siftune report`: finished runs side by side, as a table in the terminal, a page, Markdown and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from siftune.runs.reporting.content import Report
from siftune.runs.reporting.records import ReportError, RunRecord, choose, read_run, read_store
from siftune.runs.reporting.table import print_table
from siftune.runs.tracker.config import TrackingConfig

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
    """Folder for report.md, the plots and the page; None: <store>/report."""
    html: bool = False
    """Whether to write report.html, one page that holds everything (also: --html)."""
    markdown: bool = True
    """Whether to write report.md."""
    plots: bool = True
    """Whether to draw the plots."""
    tracking: TrackingConfig = field(default_factory=lambda: TrackingConfig(mode="disabled"))
    """Whether W&B gets the report's tables, figures and charts (group `tracking`)."""

    @property
    def folder(self) -> Path:
        """Where the report is written."""
        return self.output or self.store / "report"


@dataclass(frozen=True)
class ReportFiles:
    """What was written."""

    page: Path | None
    markdown: Path | None
    plots: tuple[Path, ...]

    def __str__(self) -> str:
        return ", ".join(str(path) for path in (self.page, self.markdown, *self.plots) if path is not None) or "nothing"


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
    """Write what the config asks for of report.html, report.md and its pictures: the whole report of these runs.

    With several sections of comparable runs, the second one's pictures are scores-2.png and so on."""
    from siftune.runs.reporting.build import build_report
    from siftune.runs.reporting.papers import recorded_paper

    wanted = config or ReportConfig(store=store_of(runs))
    paper, miniature = recorded_paper(runs, wanted.store)
    report = build_report(runs, wanted.store, paper, miniature)
    files = write_files(report, folder, wanted)
    if wanted.tracking.mode != "disabled":
        from siftune.runs.reporting.tracking import track_report

        written = [path for path in (files.page, files.markdown, *files.plots) if path is not None]
        track_report(report, runs, written, wanted.tracking, wanted.store)
    return files


def write_files(report: Report, folder: Path, config: ReportConfig) -> ReportFiles:
    """Write what the config asks for of a report."""
    from siftune.runs.reporting.markdown import MARKDOWN, markdown, write_pictures
    from siftune.runs.reporting.page import PAGE, write_page
    from siftune.selection.files import write_whole

    plots = write_pictures(report, folder) if config.plots else []
    if config.markdown:
        write_whole(folder / MARKDOWN, markdown(report, pictures=config.plots))
    if config.html:
        write_page(report, folder / PAGE)
    return ReportFiles(
        page=folder / PAGE if config.html else None,
        markdown=folder / MARKDOWN if config.markdown else None,
        plots=tuple(plots),
    )


def store_of(runs: Sequence[RunRecord]) -> Path:
    """The store that the runs lie in, as run/<name>/."""
    return runs[0].folder.parent.parent
