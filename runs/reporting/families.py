"""Sections that differ in the budget alone: what a curve over budgets, or a plot of costs, may put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from siftune.runs.reporting.headline import judged_by, with_headline
from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.rows import Column, Row, Section, Statistic, sections


@dataclass(frozen=True)
class FamilyRow:
    """A method under one budget."""

    row: Row
    budget: str
    score: Statistic

    @property
    def amount(self) -> tuple[str, float]:
        """Unit and amount of the budget."""
        budget = self.row.runs[0].config.get("budget") or {}
        return str(budget.get("unit", "")), float(budget.get("amount", 0))


@dataclass(frozen=True)
class Family:
    """Runs on one model, pool and suite, whatever their budgets."""

    title: str
    column: Column
    """What the methods are judged by."""
    base: Statistic | None
    """The untrained model's score."""
    rows: tuple[FamilyRow, ...]
    """The trained ones, smaller budgets first."""
    budgets: tuple[str, ...]


def families(runs: Sequence[RunRecord]) -> list[Family]:
    """The families of runs that were trained and have a score with a direction."""
    found: dict[tuple[object, ...], list[Section]] = {}
    for section in map(with_headline, sections(runs)):
        trained = [row.runs[0] for row in section.rows if not row.is_base]
        if trained and judged_by(section) is not None:
            key = (*trained[0].measured, trained[0].pool, trained[0].pool_fingerprint)
            found.setdefault(key, []).append(section)
    return [_family(members) for members in found.values()]


def _family(members: Sequence[Section]) -> Family:
    column = members[0].columns[0]
    rows = [
        FamilyRow(row, row.runs[0].budget, row.scores[column.name])
        for section in members
        for row in section.rows
        if not row.is_base and column.name in row.scores
    ]
    rows.sort(key=lambda item: item.amount)
    bases = [row.scores[column.name] for row in members[0].rows if row.is_base and column.name in row.scores]
    budgets = tuple(dict.fromkeys(item.budget for item in rows))
    return Family(_title(members, budgets), column, bases[0] if bases else None, tuple(rows), budgets)


def _title(members: Sequence[Section], budgets: Sequence[str]) -> str:
    """The title of a section, without the budget where there are several."""
    parts = members[0].title.split(" · ")
    return " · ".join(part for part in parts if len(budgets) == 1 or not part.startswith("budget "))
