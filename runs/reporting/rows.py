"""From run records to what a report shows: sections of comparable runs, a row a method, statistics over seeds."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from siftune.runs.reporting.records import RunRecord, Score
from siftune.runs.reporting.variants import split

RANDOM = "random"
"""The label of the method that every other one should beat."""
HEADLINE = "headline"


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """One quantity of one method over its seeds."""

    values: Mapping[int, float]
    """seed -> value."""
    stderr: float | None = None
    """Standard error over documents, where there is one seed alone."""

    @property
    def mean(self) -> float:
        """The arithmetic mean over seeds."""
        return fmean(self.values.values())

    @property
    def std(self) -> float | None:
        """The sample standard deviation over seeds (n - 1); None for one seed."""
        return stdev(self.values.values()) if len(self.values) > 1 else None

    @property
    def spread(self) -> float | None:
        """What an error bar shows: the standard deviation over seeds, or of one seed the standard error."""
        return self.std if len(self.values) > 1 else self.stderr


@dataclass(frozen=True, kw_only=True)
class Column:
    """One task, or the headline average."""

    name: str
    metric: str
    higher_is_better: bool | None
    """None: an average over tasks that disagree in it."""

    @property
    def arrow(self) -> str:
        """↑ where higher is better, ↓ where lower is."""
        return {True: "↑", False: "↓", None: ""}[self.higher_is_better]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method (or variant of it) with its runs, one a seed."""

    name: str
    runs: tuple[RunRecord, ...]
    scores: Mapping[str, Statistic]
    """Column name -> statistic."""

    @property
    def label(self) -> str:
        """The label of its runs."""
        return self.runs[0].label

    @property
    def is_base(self) -> bool:
        """Whether this is the untrained model."""
        return self.runs[0].is_base

    def picked(self, key: str) -> Statistic | None:
        """A number of the selection's summary over seeds (rows, tokens, target_share), where every run has it."""
        values = {run.seed: (run.selection or {}).get(key) for run in self.runs}
        known = {seed: float(value) for seed, value in values.items() if value is not None}
        return Statistic(values=known) if len(known) == len(values) else None

    def spent(self, what: str, *phases: str) -> float | None:
        """Mean over its runs of what phases took together, e.g. the flops of "selection" and "training"; None where a
        record does not say."""
        known = [[run.cost.get(phase, {}).get(what) for phase in phases] for run in self.runs]
        totals = [math.fsum(value for value in values if value is not None) for values in known]
        return None if any(None in values for values in known) else fmean(totals)

    @property
    def seconds(self) -> float:
        """Mean wall time of a run; what was found in the store cost it nothing."""
        return fmean(run.seconds for run in self.runs)


@dataclass(frozen=True, kw_only=True)
class Section:
    """Runs that may be compared: one model, pool, budget and suite."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    """The base model first, then random, then the methods, best first."""
    superseded: int
    """Older runs of a configuration and seed that was run again (in another version), which are left out."""

    @property
    def random(self) -> Row | None:
        """The row of random selection, if there is just one."""
        found = [row for row in self.rows if row.label == RANDOM]
        return found[0] if len(found) == 1 else None

    def best(self, column: Column, decimals: int) -> set[str]:
        """Names of the rows with the best mean, ties after rounding included; empty where all rows tie."""
        means = {row.name: row.scores[column.name].mean for row in self.rows if column.name in row.scores}
        if column.higher_is_better is None:
            return set()
        top = (max if column.higher_is_better else min)(means.values(), default=0.0)
        best = {name for name, mean in means.items() if f"{mean:.{decimals}f}" == f"{top:.{decimals}f}"}
        return best if len(best) < len(means) else set()


def sections(runs: Sequence[RunRecord]) -> list[Section]:
    """Group runs into comparable sections; the base model joins every section of its model and suite."""
    trained = [run for run in runs if not run.is_base]
    bases = [run for run in runs if run.is_base]
    keys = list(dict.fromkeys((*run.measured, run.pool, run.pool_fingerprint, run.budget) for run in trained))
    ambiguous = len({key[3:] for key in keys}) > len({(key[3], key[5]) for key in keys})
    found = []
    for key in keys:
        own = [run for run in trained if (*run.measured, run.pool, run.pool_fingerprint, run.budget) == key]
        joined = [run for run in bases if run.measured == key[:3]]
        found.append(_section(_title(own[0], ambiguous), [*joined, *own]))
    covered = {run.measured for run in trained}
    for measured in dict.fromkeys(run.measured for run in bases if run.measured not in covered):
        alone = [run for run in bases if run.measured == measured]
        found.append(_section(_title(alone[0], False), alone))
    return found


def improvement(row: Row, reference: Row, column: Column) -> Statistic | None:
    """How much better than `reference`, positive where better whatever the direction of the column.

    Paired by seed where both have the same seeds; else the difference of the means (under seed -1, no deviation)."""
    if column.higher_is_better is None or column.name not in row.scores or column.name not in reference.scores:
        return None
    sign = 1.0 if column.higher_is_better else -1.0
    ours, theirs = row.scores[column.name], reference.scores[column.name]
    if set(ours.values) == set(theirs.values):
        return Statistic(values={seed: sign * (value - theirs.values[seed]) for seed, value in ours.values.items()})
    return Statistic(values={-1: sign * (ours.mean - theirs.mean)})


def decimals_for(means: Sequence[float]) -> int:
    """Decimals with which a column of these means is written: 4 below 0.1, 3 below 10, 2 below 100, then 1."""
    largest = max((abs(mean) for mean in means), default=0.0)
    return next((count for bound, count in ((0.1, 4), (10, 3), (100, 2)) if largest < bound), 1)


def wrapped(name: str, width: int) -> str:
    """A row's name on lines of at most `width` characters, broken before its hyperparameters if it is longer."""
    parts = name.replace("(", "\n(", 1).split("\n") if len(name) > width else [name]
    return "\n".join(textwrap.fill(part.strip(), width) for part in parts if part.strip())


def _title(run: RunRecord, ambiguous: bool) -> str:
    suite = [] if run.suite is None else [f"suite {run.suite}"]
    if run.is_base:
        return " · ".join([run.model, *suite])
    version = f" ({(run.pool_fingerprint or '')[:8]})" if ambiguous else ""
    return " · ".join([run.model, f"pool {run.pool}{version}", f"budget {run.budget}", *suite])


def _section(title: str, runs: Sequence[RunRecord]) -> Section:
    columns = _columns(runs[0])
    rows, superseded = [], 0
    for label in dict.fromkeys(run.label for run in runs):
        for name, members in split([run for run in runs if run.label == label]).items():
            kept = latest(members)
            superseded += len(members) - len(kept)
            rows.append(Row(name=name, runs=kept, scores=_scores(kept, columns)))
    return Section(title=title, columns=columns, rows=tuple(sorted(rows, key=_order(columns))), superseded=superseded)


def latest(runs: Sequence[RunRecord]) -> tuple[RunRecord, ...]:
    """Of runs that differ in nothing but the seed the last one of each seed, by seed."""
    by_seed = {run.seed: run for run in sorted(runs, key=lambda run: run.created)}
    return tuple(by_seed[seed] for seed in sorted(by_seed))


def _columns(run: RunRecord) -> tuple[Column, ...]:
    tasks = tuple(
        Column(name=name, metric=score.metric, higher_is_better=score.higher_is_better)
        for name, score in run.scores.items()
    )
    if run.headline is None or len(run.headline_tasks) < 2:
        return tasks
    directions = {run.scores[name].higher_is_better for name in run.headline_tasks}
    better = directions.pop() if len(directions) == 1 else None
    return (Column(name=HEADLINE, metric=f"mean of {len(run.headline_tasks)}", higher_is_better=better), *tasks)


def _scores(runs: Sequence[RunRecord], columns: Sequence[Column]) -> dict[str, Statistic]:
    found = {}
    for column in columns:
        if column.name == HEADLINE:
            values = {run.seed: run.headline for run in runs if run.headline is not None}
            if len(values) == len(runs):
                found[HEADLINE] = Statistic(values=values)
        else:
            scores: dict[int, Score] = {run.seed: run.scores[column.name] for run in runs}
            alone = next(iter(scores.values())).stderr if len(scores) == 1 else None
            found[column.name] = Statistic(values={s: score.value for s, score in scores.items()}, stderr=alone)
    return found


def _order(columns: Sequence[Column]) -> Callable[[Row], tuple[int, float, str]]:
    """Base, random, then by the first column that has a direction (the headline, if there is one), best first."""
    directed = [column for column in columns if column.higher_is_better is not None]

    def key(row: Row) -> tuple[int, float, str]:
        rank = 0 if row.is_base else 1 if row.label == RANDOM else 2
        if not directed or directed[0].name not in row.scores:
            return (rank, math.inf, row.name)
        mean = row.scores[directed[0].name].mean
        return (rank, -mean if directed[0].higher_is_better else mean, row.name)

    return key
