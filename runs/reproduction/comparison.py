"""A paper's printed figures beside those of runs, in the paper's units.

What can be compared across scales is not the score but what a method gains over random selection, and the order that
the methods come in: both are worked out for the paper and for the runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from siftune.runs.paper import HEADLINE, Paper
from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.rows import Statistic
from siftune.runs.reproduction.printed import Key, PrintedRow, axes_of

AVERAGE = "average"
"""A column that is not printed: the mean of those that are."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a row: printed, found, or both; in the paper's units.

    Ours may be a loss where the paper's is a score: it is neither scaled nor compared by value, and gains turn round.
    """

    paper: float | None = None
    ours: Statistic | None = None
    """Over seeds."""
    paper_over_random: float | None = None
    """What the paper's method has more than the paper's random selection."""
    ours_over_random: float | None = None
    """Positive where better than random."""
    direction: int = 1
    """Of ours: 1 where higher is better, -1 where lower is, 0 for a mean over tasks that disagree in it."""

    @property
    def difference(self) -> float | None:
        """Ours - the paper's; None for a loss, which is no score."""
        if self.paper is None or self.ours is None or self.direction != 1:
            return None
        return self.ours.mean - self.paper

    @property
    def merit(self) -> float | None:
        """Ours, the higher the better."""
        return None if self.ours is None or self.direction == 0 else self.direction * self.ours.mean


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """A method (or variant of it) of the paper's, of ours, or of both."""

    name: str
    """As printed; of a run that the paper has not, its label."""
    context: str
    """As printed, the axes besides the method: base model, budget ..."""
    key: Key
    """Where it stands on the axes."""
    is_random: bool
    figures: Mapping[str, Figure]
    """Printed column -> figure."""
    runs: tuple[RunRecord, ...] = ()

    @property
    def seeds(self) -> int:
        """How many of its runs differ in nothing but the seed."""
        return len({run.seed for run in self.runs})


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far the order of the methods is the paper's."""

    column: str
    context: str
    count: int
    """Methods with a figure on both sides."""
    spearman: float | None
    """Rank correlation; None for fewer than three methods, or where one side does not tell them apart."""


@dataclass(frozen=True, kw_only=True)
class PaperComparison:
    """The whole table."""

    paper: Paper
    miniature: bool
    rows: tuple[ComparedRow, ...]
    """In the paper's order; what the paper has not comes last."""
    agreements: tuple[Agreement, ...]
    not_run: tuple[str, ...]
    """Printed rows that no run of siftune's stands for."""
    printed_rows: tuple[PrintedRow, ...] = field(default=(), repr=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """The printed columns, the headline first."""
        return headline_first(self.paper)

    @property
    def departures(self) -> tuple[str, ...]:
        """In what the runs differ from the paper's."""
        return self.paper.departures + (self.paper.miniature.departures if self.miniature else ())

    def printed(self, key: str, column: str | None = None) -> dict[str, list[tuple[str | int | float | bool, float]]]:
        """The paper's curves over one axis, to be laid over ours.

        key: what of a run the axis names (`Axis.key`), such as selection.num_clusters. column: printed column; None:
        the headline, or the first. Returns curve -> [(value on the axis as siftune has it, figure in siftune's units)],
        in the paper's order; a curve is named by the printed values of the other axes, "" where there is none. Empty
        where the paper has no such axis.
        """
        found: dict[str, list[tuple[str | int | float | bool, float]]] = {}
        names = [name for name, axis in axes_of(self.paper, self.miniature).items() if axis.key == key]
        column = column or self.columns[0]
        for row in self.printed_rows if names else ():
            if row.key is not None and column in row.values:
                curve = ", ".join(text for name, text in row.names.items() if name != names[0])
                found.setdefault(curve, []).append((dict(row.key)[names[0]], row.values[column] / self.paper.scale))
        return found


def headline_first(paper: Paper) -> tuple[str, ...]:
    """The columns, in the paper's order otherwise."""
    return tuple(sorted(paper.columns, key=lambda column: paper.columns[column] != HEADLINE))
