"""*Paper | ours | difference*: a part of the report, and a table for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.console import Console
from rich.text import Text

from siftune.runs.reporting.content import Cell, Column, Part, Table
from siftune.runs.reproduction.comparison import AVERAGE, ComparedRow, Figure, PaperComparison
from siftune.runs.reproduction.matching import compare_with_paper
from siftune.runs.tables import MISSING, Cells, fitting

__all__ = ["PaperComparison", "compare_with_paper", "paper_part", "print_paper"]

NAME = "paper"
UNITS = (
    "Figures are in the paper's units. Over random: what a method has more than random selection under the same model "
    "and budget, in the paper and here; that and the order of the methods are what can be compared across scales."
)
LOSSES = (
    "Ours is a loss where it says so: no difference from the paper's score is taken, and what is gained over random is "
    "positive where the loss is lower."
)
FIGURES: tuple[tuple[str, str, Callable[[Figure], float | None], str], ...] = (
    ("paper", "as printed", lambda figure: figure.paper, ""),
    ("ours", "mean over seeds", lambda figure: None if figure.ours is None else figure.ours.mean, ""),
    ("difference", "ours - paper", lambda figure: figure.difference, "+"),
    ("paper over random", "", lambda figure: figure.paper_over_random, "+"),
    ("ours over random", "", lambda figure: figure.ours_over_random, "+"),
)
"""Header, detail, figure and sign of a table's columns."""


def paper_part(comparison: PaperComparison) -> Part:
    """A table a printed column, the headline's first, and how far the order of the methods agrees."""
    paper = comparison.paper
    text = [f"{paper.citation}.", UNITS]
    if any(_is_loss(comparison, column) for column in comparison.columns):
        text.append(LOSSES)
    if comparison.miniature:
        text.append("This is the miniature: another model, pool and size than the paper's.")
    if comparison.departures:
        text.append(f"It departs from the paper in this: {'; '.join(comparison.departures)}.")
    if comparison.not_run:
        text.append(f"Printed, and not among the runs: {'; '.join(comparison.not_run)}.")
    tables = [_table(comparison, column, first=number == 0) for number, column in enumerate(comparison.columns)]
    return Part(name=NAME, title="Paper and ours", text=text, tables=[*tables, *_order_table(comparison)])


def print_paper(comparison: PaperComparison, console: Console) -> None:
    """A table of all columns, `paper | ours | difference` in each cell, and the agreement of the order."""
    console.print(Text(comparison.paper.citation, style="bold"))
    headline = [row.figures[comparison.columns[0]] for row in comparison.rows]
    gains = any(own.paper_over_random is not None or own.ours_over_random is not None for own in headline)
    columns = [_gains(comparison, comparison.columns[0])] if gains else []
    columns += [_cells(comparison, column) for column in comparison.columns]
    for table in fitting([_name(row) for row in comparison.rows], columns, console, "method"):
        console.print(table)
    for line in _order_lines(comparison):
        console.print(Text(line, style="dim"))
    console.print()


def _table(comparison: PaperComparison, column: str, first: bool) -> Table:
    shown = [Column(header=header, detail=detail) for header, detail, _, _ in FIGURES]
    return Table(
        name=f"{NAME}-{_slug(column)}",
        columns=(Column(header="method", numeric=False), *shown, Column(header="seeds")),
        rows=tuple(_line(row, row.figures[column]) for row in comparison.rows),
        caption=f"{column}{_meaning(comparison, column)}",
        collapsed=not first,
    )


def _line(row: ComparedRow, figure: Figure) -> tuple[Cell, ...]:
    cells = [_number(of(figure), sign, _decimals(header, figure, 2)) for header, _, of, sign in FIGURES]
    if figure.ours is not None and figure.ours.std is not None:
        deviation = f"{figure.ours.std:.{_decimals('ours', figure, 2)}f}"
        cells[1] = Cell(text=f"{cells[1].text} ± {deviation}", value=cells[1].value)
    seeds = Cell(text=str(row.seeds) if row.runs else "", value=row.seeds)
    return (Cell(text=_name(row), value=_name(row)), *cells, seeds)


def _number(value: float | None, sign: str, decimals: int = 2) -> Cell:
    return Cell(text="") if value is None else Cell(text=f"{value:{sign}.{decimals}f}", value=value)


def _decimals(header: str, figure: Figure, of_scores: int) -> int:
    """Losses have two more: they are not in percent."""
    return of_scores + 2 if header.startswith("ours") and figure.direction != 1 else of_scores


def _order_table(comparison: PaperComparison) -> Iterator[Table]:
    if comparison.agreements:
        yield Table(
            name=f"{NAME}-order",
            columns=(Column(header="column", numeric=False), Column(header="methods"), Column(header="Spearman")),
            rows=tuple(
                (
                    Cell(text=(name := ", ".join(filter(None, (found.column, found.context)))), value=name),
                    Cell(text=str(found.count), value=found.count),
                    _number(found.spearman, "+"),
                )
                for found in comparison.agreements
            ),
            caption="Rank correlation of the methods' order, paper against ours; of three methods and more",
        )


def _order_lines(comparison: PaperComparison) -> Iterator[str]:
    for found in comparison.agreements:
        if found.spearman is not None and found.column == comparison.columns[0]:
            where = f" on {found.context}" if found.context else ""
            yield (
                f"order of the methods by {found.column}{where}: rank correlation with the paper's "
                f"{found.spearman:+.2f} (n = {found.count})"
            )
    yield "each cell: paper | ours, mean over seeds | difference"


def _gains(comparison: PaperComparison, column: str) -> Cells:
    figures = [row.figures[column] for row in comparison.rows]
    shown = [entry for entry in FIGURES if "over random" in entry[0]]
    texts = tuple(" | ".join(_short(header, own, of(own), sign) for header, _, of, sign in shown) for own in figures)
    return Cells("over random", f"{column}: paper | ours", texts, tuple(False for _ in texts))


def _cells(comparison: PaperComparison, column: str) -> Cells:
    figures = [row.figures[column] for row in comparison.rows]
    texts = tuple(
        " | ".join(_short(header, own, of(own), sign) for header, _, of, sign in FIGURES[:3]) for own in figures
    )
    task = comparison.paper.columns[column]
    parts = [
        task if task not in (None, column) else "",
        "ours: lower is better" if _is_loss(comparison, column) else "",
    ]
    return Cells(column, ", ".join(filter(None, parts)), texts, tuple(False for _ in texts))


def _short(header: str, figure: Figure, value: float | None, sign: str) -> str:
    return MISSING if value is None else f"{value:{sign}.{_decimals(header, figure, 1)}f}"


def _meaning(comparison: PaperComparison, column: str) -> str:
    lower = " (ours: lower is better)" if _is_loss(comparison, column) else ""
    if column == AVERAGE:
        return f": the paper's over the columns below, ours over the suite's headline tasks{lower}"
    task = comparison.paper.columns[column]
    return lower if task in (None, column) else f": {task}{lower}"


def _is_loss(comparison: PaperComparison, column: str) -> bool:
    return any(row.figures[column].direction == -1 for row in comparison.rows)


def _name(row: ComparedRow) -> str:
    return ", ".join(filter(None, (row.name, row.context)))


def _slug(text: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in text.lower()).strip("-")
