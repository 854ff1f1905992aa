"""Beside a score: how many of the task's test questions the picked rows hold."""

from __future__ import annotations

from collections.abc import Mapping

from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.rows import HEADLINE, Column, Row, Section

HELD = "in brackets: how many of the task's test questions the picked rows hold, of those that can be searched for"


def beside(row: Row, column: Column) -> str:
    """` [2/100]` where picked rows of a method hold test questions of the task, of several seeds ` [0-3/100]`; of the
    headline those of all its tasks; nothing where they hold none or were not searched."""
    found = [counts for run in row.runs if (counts := _counts(run, column)) is not None]
    held = sorted({contaminated for contaminated, _ in found})
    if not held or held == [0]:
        return ""
    spread = f"{held[0]:,}" if len(held) == 1 else f"{held[0]:,}-{held[-1]:,}"
    return f" [{spread}/{max(searched for _, searched in found):,}]"


def explained(section: Section) -> list[str]:
    """What is to be said of a section's scores."""
    picking = [run for row in section.rows for run in row.runs if not run.is_base]
    checked = [run for run in picking if run.contamination]
    if not checked:
        return []
    names = {name: task["searched"] for run in checked for name, task in run.contamination.items()}
    tasks = ", ".join(f"{name} ({searched:,})" for name, searched in names.items())
    held = any(task["contaminated"] for run in checked for task in run.contamination.values())
    found = HELD if held else f"the picked rows hold no test question of {tasks}"
    unknown = len(picking) - len(checked)
    return [found + (f"; runs that were not searched: {unknown}" if unknown else "")]


def _counts(run: RunRecord, column: Column) -> tuple[int, int] | None:
    """(held, searched) of a column's test questions."""
    names = run.headline_tasks if column.name == HEADLINE else (column.name,)
    found: list[Mapping[str, int]] = [run.contamination[name] for name in names if name in run.contamination]
    if not found:
        return None
    return sum(task["contaminated"] for task in found), sum(task["searched"] for task in found)
