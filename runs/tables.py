"""Tables of named rows: for the terminal (rich), split where it is too narrow, and in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from siftune.runs.reporting.rows import wrapped

MISSING = "–"
NAME_WIDTH = 32
_DETAILS = re.compile(r",(?=\D)")
"""A comma that is not part of a number."""


@dataclass(frozen=True)
class Cells:
    """One column of a table, a cell a row."""

    header: str
    detail: str
    """Second line of the header: metric and direction."""
    texts: tuple[str, ...]
    bold: tuple[bool, ...]


def fitting(names: Sequence[str], columns: Sequence[Cells], console: Console, corner: str) -> list[Table]:
    """As few tables as the width allows, each with the names of the rows, under the header `corner`."""
    tables: list[Table] = []
    shown: list[Cells] = []
    for column in columns:
        if shown and _width(_rich_table(names, [*shown, column], corner), console) > console.width:
            tables.append(_rich_table(names, shown, corner))
            shown = []
        shown.append(column)
    return [*tables, _rich_table(names, shown, corner)]


def markdown_table(names: Sequence[str], columns: Sequence[Cells], corner: str) -> list[str]:
    """The lines of the table in Markdown."""
    headers = [
        f"{escape(column.header)}<br>{column.detail}" if column.detail else escape(column.header) for column in columns
    ]
    rows = [[corner, *headers], ["---", *("---:" for _ in columns)]]
    for position, name in enumerate(names):
        cells = [f"**{cell.texts[position]}**" if cell.bold[position] else cell.texts[position] for cell in columns]
        rows.append([escape(name), *cells])
    return [f"| {' | '.join(row)} |" for row in rows]


def escape(text: str) -> str:
    """A name as it stands in a cell of a Markdown table."""
    return text.replace("|", "\\|")


def _width(table: Table, console: Console) -> int:
    return console.measure(table, options=console.options.update(max_width=10_000)).maximum


def _rich_table(names: Sequence[str], columns: Sequence[Cells], corner: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))
    table.add_column(corner, no_wrap=True)
    for column in columns:
        header = Text(column.header).append("\n" + _DETAILS.sub(",\n", column.detail), style="dim")
        table.add_column(header, justify="right", no_wrap=True)
    for position, name in enumerate(names):
        cells = [Text(column.texts[position], style="bold" if column.bold[position] else "") for column in columns]
        table.add_row(Text(wrapped(name, NAME_WIDTH)), *cells)
    return table
