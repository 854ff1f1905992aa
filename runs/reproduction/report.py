"""The report of a paper's table: the cells that are done, and the printed figures beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from siftune.runs.build import ConfigError
from siftune.runs.paper import Paper
from siftune.runs.report import ReportConfig, print_table, read_runs, write_files
from siftune.runs.reporting.build import build_report
from siftune.runs.reproduction.config import Request
from siftune.runs.reproduction.paper_table import compare_with_paper, print_paper
from siftune.runs.reproduction.plan import TablePlan

FOLDER = "reproductions"


def report_table(name: str, request: Request, paper: Paper, folders: Sequence[Path], planned: TablePlan) -> None:
    """Print the tables, and write the report; ConfigError where no cell is done."""
    if not folders:
        raise ConfigError(f"no cell of {name} is done: nothing to report")
    runs, store, miniature = read_runs(list(dict.fromkeys(folders))), planned.plan.store, request.scale is not None
    console = Console()
    print_table(runs, console)
    comparison = compare_with_paper(runs, paper, miniature)
    if comparison is not None:
        print_paper(comparison, console)
    report = build_report(runs, store, paper, miniature)
    title = f"{name}, {request.scale}" if miniature else name
    folder = report_folder(name, request, store)
    files = write_files(
        dataclasses.replace(report, title=title), folder, ReportConfig(store=store, output=folder, html=True)
    )
    said = f"{len(folders)} of {len(planned.cells)} cells done; the report: {files.page}, {files.markdown}"
    Console(stderr=True, highlight=False).print(said, markup=False, soft_wrap=True)


def report_folder(name: str, request: Request, store: Path) -> Path:
    """Where it is written."""
    suffix = "" if request.scale is None else f"-{request.scale}"
    return request.settings.output or store / FOLDER / f"{name}{suffix}"
