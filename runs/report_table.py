"""The report as tables: for the terminal (rich) and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from siftune.runs.report_records import RunRecord
from siftune.runs.report_rows import Column, Row, Section, Statistic, decimals_for, improvement, sections
from siftune.runs.tables import MISSING, Cells, escape, fitting, markdown_table

CAPTION = "mean ± sample standard deviation over seeds"


def print_table(runs: Sequence[RunRecord], console: Console) -> None:
    """Print a table a section, split where the terminal is too narrow for it; the best of each column is bold."""
    for section in sections(runs):
        columns = [_seeds(section), *_score_cells(section, stderr=False), *_cost_cells(section)]
        names = [row.name for row in section.rows]
        for position, table in enumerate(fitting(names, columns, console, "method")):
            console.print(Text(section.title if position == 0 else "", style="bold"))
            console.print(table)
        for note in _notes(section):
            console.print(Text(note, style="dim"))
        console.print()


def markdown(runs: Sequence[RunRecord], plots: Sequence[Sequence[Path]]) -> str:
    """The whole report in Markdown. plots: per section of `sections(runs)` its pictures, embedded by file name."""
    parts = ["# siftune report", ""]
    for section, pictures in zip(sections(runs), plots, strict=True):
        columns = [_seeds(section), *_score_cells(section, stderr=True), *_cost_cells(section)]
        parts += [f"## {section.title}", "", *markdown_table([row.name for row in section.rows], columns, "method"), ""]
        parts += [*(f"{note}." for note in _notes(section)), ""]
        parts += _improvements(section)
        for picture in pictures:
            parts += [f"![{picture.stem.split('-')[0]}]({picture.name})", ""]
    parts += ["## Runs", "", *_run_table(runs)]
    return "\n".join(parts) + "\n"


def _score_cells(section: Section, stderr: bool) -> list[Cells]:
    return [_score_column(section, column, stderr) for column in section.columns]


def _score_column(section: Section, column: Column, stderr: bool) -> Cells:
    statistics = [row.scores.get(column.name) for row in section.rows]
    decimals = decimals_for([statistic.mean for statistic in statistics if statistic is not None])
    best = section.best(column, decimals)
    return Cells(
        header=f"{column.name} {column.arrow}".strip(),
        detail=column.metric,
        texts=tuple(_spell(statistic, decimals, stderr) for statistic in statistics),
        bold=tuple(row.name in best for row in section.rows),
    )


def _spell(statistic: Statistic | None, decimals: int, stderr: bool = False, sign: str = "") -> str:
    if statistic is None:
        return MISSING
    text = f"{statistic.mean:{sign}.{decimals}f}"
    if statistic.std is not None:
        return f"{text} ± {statistic.std:.{decimals}f}"
    return f"{text} (se {statistic.stderr:.{decimals}f})" if stderr and statistic.stderr is not None else text


def _cost_cells(section: Section) -> list[Cells]:
    plain = tuple(False for _ in section.rows)
    shares = tuple(_share(row) for row in section.rows)
    cells = [
        Cells("target rows", "of the picks", shares, plain),
        Cells("rows", "picked", tuple(_count(row, "rows") for row in section.rows), plain),
        Cells("tokens", "picked", tuple(_count(row, "tokens") for row in section.rows), plain),
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


def _notes(section: Section) -> list[str]:
    notes = []
    if any(len(row.runs) > 1 for row in section.rows):
        notes.append(CAPTION)
    if section.superseded:
        notes.append(f"{section.superseded} older runs of the same configuration and seed are left out")
    return notes


def _improvements(section: Section) -> list[str]:
    reference = section.random
    rows = [row for row in section.rows if reference is not None and row is not reference]
    columns = [column for column in section.columns if column.higher_is_better is not None]
    if reference is None or not rows or not columns:
        return []
    cells = []
    for column in columns:
        found = [improvement(row, reference, column) for row in rows]
        decimals = decimals_for([row.scores[column.name].mean for row in section.rows if column.name in row.scores])
        texts = tuple(_spell(statistic, decimals, sign="+") for statistic in found)
        cells.append(Cells(f"{column.name} {column.arrow}", column.metric, texts, tuple(False for _ in rows)))
    title = "### Improvement over random"
    note = (
        "Positive is better, also where lower scores are; "
        "± is the sample standard deviation of the differences, seed by seed."
    )
    return [title, "", *markdown_table([row.name for row in rows], cells, "method"), "", note, ""]


def _run_table(runs: Sequence[RunRecord]) -> list[str]:
    rows = [["method", "seed", "model", "pool", "budget", "fingerprint", "created", "commit", "seconds"]]
    rows.append(["---"] * len(rows[0]))
    for run in runs:
        pool, budget = (MISSING, MISSING) if run.is_base else (run.pool, run.budget)
        origin = [f"`{run.fingerprint}`", run.created, f"`{run.commit[:10]}`" if run.commit else MISSING]
        rows.append([escape(run.label), str(run.seed), run.model, pool, budget, *origin, f"{run.seconds:,.0f}"])
    return [f"| {' | '.join(row)} |" for row in rows]
