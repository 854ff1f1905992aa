"""Runs side by side as a table for the terminal (rich)."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from siftune.runs.reporting.contamination import beside, explained
from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.rows import Column, Row, Section, Statistic, decimals_for, sections
from siftune.runs.tables import MISSING, Cells, fitting
from siftune.runs.units import short

CAPTION = "mean ± sample standard deviation over seeds"


def print_table(runs: Sequence[RunRecord], console: Console) -> None:
    """Print a table a section, split where the terminal is too narrow for it; the best of each column is bold."""
    for section in sections(runs):
        columns = [_seeds(section), *_score_cells(section), *_cost_cells(section)]
        names = [row.name for row in section.rows]
        for position, table in enumerate(fitting(names, columns, console, "method")):
            console.print(Text(section.title if position == 0 else "", style="bold"))
            console.print(table)
        for note in _notes(section):
            console.print(Text(note, style="dim"))
        console.print()


def _score_cells(section: Section) -> list[Cells]:
    return [_score_column(section, column) for column in section.columns]


def _score_column(section: Section, column: Column) -> Cells:
    statistics = [row.scores.get(column.name) for row in section.rows]
    decimals = decimals_for([statistic.mean for statistic in statistics if statistic is not None])
    best = section.best(column, decimals)
    return Cells(
        header=f"{column.name} {column.arrow}".strip(),
        detail=column.metric,
        texts=tuple(
            _spell(statistic, decimals) + beside(row, column)
            for statistic, row in zip(statistics, section.rows, strict=True)
        ),
        bold=tuple(row.name in best for row in section.rows),
    )


def _spell(statistic: Statistic | None, decimals: int) -> str:
    if statistic is None:
        return MISSING
    text = f"{statistic.mean:.{decimals}f}"
    return text if statistic.std is None else f"{text} ± {statistic.std:.{decimals}f}"


def _cost_cells(section: Section) -> list[Cells]:
    plain = tuple(False for _ in section.rows)
    shares = tuple(_share(row) for row in section.rows)
    cells = [
        Cells("target rows", "of the picks", shares, plain),
        Cells("rows", "picked", tuple(_count(row, "rows") for row in section.rows), plain),
        Cells("tokens", "picked", tuple(_count(row, "tokens") for row in section.rows), plain),
        Cells("FLOPs", "pick and train", tuple(_flops(row) for row in section.rows), plain),
        Cells("seconds", "of its stages", tuple(f"{row.seconds:,.0f}" for row in section.rows), plain),
    ]
    return [cell for cell in cells if any(text != MISSING for text in cell.texts)]


def _seeds(section: Section) -> Cells:
    return Cells("seeds", "", tuple(str(len(row.runs)) for row in section.rows), tuple(False for _ in section.rows))


def _share(row: Row) -> str:
    statistic = row.picked("target_share")
    return MISSING if statistic is None else f"{100 * statistic.mean:.1f}%"


def _count(row: Row, key: str) -> str:
    statistic = row.picked(key)
    return MISSING if statistic is None else f"{statistic.mean:,.0f}"


def _flops(row: Row) -> str:
    spent = row.spent("flops", "selection", "training")
    return MISSING if spent is None or row.is_base else short(spent)


def _notes(section: Section) -> list[str]:
    notes = []
    if any(len(row.runs) > 1 for row in section.rows):
        notes.append(CAPTION)
    notes += explained(section)
    if section.superseded:
        notes.append(f"{section.superseded} older runs of the same configuration and seed are left out")
    return notes
