"""What a report says, before it is a page, a Markdown file or pictures: parts with text, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table."""

    text: str
    value: float | str | None = None
    """What the table is sorted by; None sorts last."""
    best: bool = False
    """Whether it is the best of its column: bold."""
    note: str = ""
    """Said on demand, such as an interval: the tooltip of a page."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    header: str
    detail: str = ""
    """Under the header: a metric, a unit."""
    numeric: bool = True
    """Numbers stand on the right."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; the first column names the rows."""

    name: str
    """Short and unique in the report, [a-z0-9-]: what the page's address calls it."""
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    collapsed: bool = False
    """Whether a page shows it on demand only: long tables."""

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), f"table {self.name} has a ragged row"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure with its caption."""

    name: str
    """Unique in the report, [a-z0-9-]: the PNG's file name."""
    figure: Figure
    caption: str
    """What is to be seen, in a sentence or two; also the alternative text."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A row of a pool, shown as people read it."""

    title: str
    """Which row of what, and why it was picked: rank, gain, source."""
    turns: tuple[tuple[str, str], ...]
    """(role, text) of each turn, cut to what can be read."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a report."""

    name: str
    """Unique, [a-z0-9-]."""
    title: str
    text: Sequence[str] = ()
    """Paragraphs, plain text."""
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    examples: Sequence[tuple[str, Sequence[Example]]] = ()
    """(heading, examples): on demand."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report."""

    title: str
    subtitle: str = ""
    parts: Sequence[Part] = field(default_factory=tuple)
