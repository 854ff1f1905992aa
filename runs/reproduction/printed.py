"""What a paper printed: its table's rows, read as siftune names things."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from siftune.runs.build import unknown
from siftune.runs.paper import LABEL, Axis, Paper
from siftune.runs.reporting.records import RunRecord

ENDING = ".csv"

Key = tuple[tuple[str, Any], ...]
"""(column, value as siftune has it) of each axis, in the paper's order."""


@dataclass(frozen=True, kw_only=True)
class PrintedRow:
    """A row of a printed table."""

    names: Mapping[str, str]
    """Axis column -> as printed."""
    key: Key | None
    """As siftune has it; None for a row that no run of siftune's stands for."""
    values: Mapping[str, float]
    """Column -> figure, where one is printed."""


def axes_of(paper: Paper, miniature: bool) -> dict[str, Axis]:
    """The columns that say of which run a row is."""
    fixed = paper.miniature.where if miniature else {}
    return {column: axis for column, axis in paper.axes.items() if column not in fixed}


def printed_rows(paper: Paper, miniature: bool) -> list[PrintedRow]:
    """The rows that belong to the experiment (to its miniature); ValueError where the CSV has no such column."""
    if paper.table is None:
        return []
    wanted = {**paper.where, **(paper.miniature.where if miniature else {})}
    axes, rows = axes_of(paper, miniature), _read(paper.table)
    _require(paper.table, rows, [*wanted, *axes, *paper.columns])
    chosen = [row for row in rows if all(row[column] == value for column, value in wanted.items())]
    return [_printed(row, axes, paper.columns) for row in chosen]


def key_of(run: RunRecord, axes: Mapping[str, Axis]) -> Key:
    """Where a run stands on the axes."""
    return tuple((column, value_at(run, axis.key)) for column, axis in axes.items())


def value_at(run: RunRecord, key: str) -> Any:
    """What a run has at `label`, or at a path of its config; None where it has no such key."""
    if key == LABEL:
        return run.label
    node: Any = run.config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node


def same(one: Any, other: Any) -> bool:
    """Whether two settings are the same: 3 and 3.0 are, 1 and true are not."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _printed(row: Mapping[str, str], axes: Mapping[str, Axis], columns: Iterable[str]) -> PrintedRow:
    known = all(row[column] in axis.values for column, axis in axes.items())
    return PrintedRow(
        names={column: row[column] for column in axes},
        key=tuple((column, axis.values[row[column]]) for column, axis in axes.items()) if known else None,
        values={column: float(row[column]) for column in columns if row[column].strip() not in ("", "-")},
    )


def _read(table: str) -> list[dict[str, str]]:
    """A file of one's own, or one of conf/papers by its name."""
    if table.endswith(ENDING):
        file: Any = Path(table)
    else:
        file = resources.files("siftune.conf") / "papers" / f"{table}{ENDING}"
    if not file.is_file():
        known = [found.name for found in (resources.files("siftune.conf") / "papers").iterdir()]
        names = [name.removesuffix(ENDING) for name in known if name.endswith(ENDING)]
        raise ValueError(unknown(f"paper.table={table}", table, names, "CSV of conf/papers"))
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def _require(table: str, rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> None:
    for column in columns:
        if rows and column not in rows[0]:
            raise ValueError(unknown(f"paper.table={table}: {column}", column, rows[0], "column"))
