"""What each method trained on, and its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from siftune.runs.reporting.content import Cell, Column, Part, Picture, Table
from siftune.runs.reporting.plots import training_figure
from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.rows import Row, Section, sections
from siftune.runs.tables import MISSING

HEADERS = (
    ("rows", "picked", "{:,.0f}"),
    ("tokens", "picked", "{:,.0f}"),
    ("target rows", "of the picks", "{:.1%}"),
    ("steps", "", "{:,.0f}"),
    ("final loss", "", "{:.3f}"),
)


def training_part(runs: Sequence[RunRecord]) -> Part | None:
    """Means over seeds, and the curves; None where nothing was picked."""
    tables: list[Table] = []
    pictures: list[Picture] = []
    found = [section for section in sections(runs) if any(not row.is_base for row in section.rows)]
    for number, section in enumerate(found, start=1):
        suffix = "" if number == 1 else f"-{number}"
        tables.append(_table(section, f"trained{suffix}"))
        figure = training_figure(section)
        if figure is not None:
            caption = f"Training loss by step, {section.title}: the mean over seeds, each seed thin behind it."
            pictures.append(Picture(name=f"training{suffix}", figure=figure, caption=caption))
    if not found:
        return None
    return Part(name="training", title="Training", text=["Means over seeds."], tables=tables, pictures=pictures)


def _table(section: Section, name: str) -> Table:
    rows = [row for row in section.rows if not row.is_base]
    values = [_values(row) for row in rows]
    shown = [number for number in range(len(HEADERS)) if any(line[number] is not None for line in values)]
    columns = [Column(header=header, detail=detail) for header, detail, _ in (HEADERS[number] for number in shown)]
    lines = []
    for row, line in zip(rows, values, strict=True):
        cells = [_cell(line[number], HEADERS[number][2]) for number in shown]
        lines.append((Cell(text=row.name, value=row.name), *cells))
    header = Column(header="method", numeric=False)
    return Table(name=name, columns=(header, *columns), rows=tuple(lines), caption=section.title)


def _values(row: Row) -> tuple[float | None, ...]:
    picked = [row.picked(key) for key in ("rows", "tokens", "target_share")]
    trained = [_mean(row, key) for key in ("steps", "final_loss")]
    return (*(None if statistic is None else statistic.mean for statistic in picked), *trained)


def _mean(row: Row, key: str) -> float | None:
    trainings: list[Mapping[str, Any]] = [run.training or {} for run in row.runs]
    values = [training.get(key) for training in trainings]
    return fmean(float(value) for value in values if value is not None) if None not in values else None


def _cell(value: float | None, form: str) -> Cell:
    return Cell(text=MISSING) if value is None else Cell(text=form.format(value), value=value)
