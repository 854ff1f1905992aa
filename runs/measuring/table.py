"""The measures of sets as tables: for the terminal (rich) and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from siftune.runs.measuring.report import MeasuredSet, MeasureReport
from siftune.runs.reporting.rows import decimals_for
from siftune.runs.tables import MISSING, Cells, fitting, markdown_table
from siftune.selection.measures.catalogue import MEASURES

BESIDE = 5
"""So many sets stand side by side, a measure a row; more of them stand below one another, a measure a column."""
PIPED = 130
"""Characters in a line where the output is a file."""
SIZES = "most measures follow the number of rows: compare sets that have as many"
BOLD = "bold: the most diverse of the sets that have as many rows"
NAMED = 5
ARROWS = "↑ larger is more diverse, ↓ smaller is"


def print_table(report: MeasureReport, console: Console) -> None:
    """Print the sets and their measures, split where the terminal is too narrow."""
    if not console.is_terminal:
        console.width = PIPED
    corner, names, columns = _table(report)
    console.print(Text(report.title, style="bold"))
    for table in fitting(names, columns, console, corner):
        console.print(table)
    for note in _notes(report, marked=console.is_terminal):
        console.print(Text(note, style="dim"))


def markdown(report: MeasureReport, picture: str | None = None) -> str:
    """The report in Markdown, with the picture of this file name."""
    corner, names, columns = _table(report)
    parts = ["# siftune measure", "", f"{report.title}.", "", *markdown_table(names, columns, corner), ""]
    parts += [*(f"{note[0].upper()}{note[1:]}." for note in _notes(report, marked=True)), ""]
    if picture is not None:
        parts += [f"![measures]({picture})", ""]
    parts += ["| measure | of | meaning |", "|---|---|---|"]
    parts += [f"| {label_of(name)} | {MEASURES[name].reads} | {MEASURES[name].meaning} |" for name in report.names]
    return "\n".join(parts) + "\n"


def label_of(name: str) -> str:
    """The measure with the direction in which sets are more diverse."""
    return f"{MEASURES[name].label} {'↑' if MEASURES[name].more_is_more_diverse else '↓'}"


def _table(report: MeasureReport) -> tuple[str, list[str], list[Cells]]:
    """What the rows are, their names, and the columns."""
    by_measure = {name: _cells(report, name) for name in report.names}
    if len(report.sets) > BESIDE:
        sizes = Cells("rows", "", tuple(f"{item.rows:,}" for item in report.sets), (False,) * len(report.sets))
        return "set", [item.name for item in report.sets], [sizes, *by_measure.values()]
    beside = [_beside(position, item, list(by_measure.values())) for position, item in enumerate(report.sets)]
    return "measure", [label_of(name) for name in report.names], beside


def _beside(position: int, item: MeasuredSet, measures: list[Cells]) -> Cells:
    texts = tuple(cells.texts[position] for cells in measures)
    return Cells(item.name, f"{item.rows:,} rows", texts, tuple(cells.bold[position] for cells in measures))


def _cells(report: MeasureReport, name: str) -> Cells:
    values = [item.values[name] for item in report.sets]
    decimals = decimals_for([value for value in values if not math.isnan(value)])
    best = report.best(name, decimals)
    return Cells(
        header=label_of(name),
        detail="",
        texts=tuple(MISSING if math.isnan(value) else f"{value:,.{decimals}f}" for value in values),
        bold=tuple(item.name in best for item in report.sets),
    )


def _notes(report: MeasureReport, marked: bool) -> list[str]:
    """How to read the table; marked: whether bold can be seen."""
    notes = [ARROWS]
    if len(report.sets) > 1 and marked:
        notes.append(BOLD)
    if len({item.rows for item in report.sets}) > 1:
        notes.append(SIZES)
    for name in report.names:
        reasons = {item.name: item.reasons[name] for item in report.sets if name in item.reasons}
        notes += [
            f"no {MEASURES[name].label} of {_listed(reasons, why)}: {why}" for why in sorted(set(reasons.values()))
        ]
    return notes


def _listed(reasons: Mapping[str, str], why: str) -> str:
    sets = [name for name, reason in reasons.items() if reason == why]
    return ", ".join(sets[:NAMED]) + (f" and {len(sets) - NAMED} more" if len(sets) > NAMED else "")
