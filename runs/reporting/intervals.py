"""Bootstrap intervals of a section's scores: over the documents that were evaluated, else over the seeds."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from siftune.evaluate.samples import CORPUS, SampleError, score
from siftune.runs.comparing.answers import Answered, Read, answered
from siftune.runs.comparing.statistics import BATCH, percentile_interval
from siftune.runs.reporting.headline import tasks_in
from siftune.runs.reporting.records import ReportError, RunRecord
from siftune.runs.reporting.rows import Column, Row, Section, Statistic

RESAMPLES = 2000
CONFIDENCE = 0.95
CLOSE = 1e-6
"""A score that differs by less from the mean of its documents is that mean."""


@dataclass(frozen=True)
class Interval:
    """The percentiles of a score's resamples."""

    low: float
    high: float
    documents: int | None
    """So many documents were drawn from; None: the seeds were."""

    def spelled(self, decimals: int) -> str:
        """As a table shows it."""
        return f"[{self.low:.{decimals}f}, {self.high:.{decimals}f}]"

    def explained(self, decimals: int, seeds: int) -> str:
        """As a tooltip says it."""
        over = f"{seeds} seeds" if self.documents is None else f"{self.documents:,} documents"
        return f"{CONFIDENCE:.0%} interval {self.spelled(decimals)}, bootstrap over {over}"


Intervals = Mapping[tuple[str, str], Interval]
"""(row, column) -> interval."""


def intervals_of(section: Section, read: Read) -> dict[tuple[str, str], Interval]:
    """The interval of every score that has one: per-document records, or two seeds, are needed for it.

    A resample draws documents with replacement, the same ones for every method and seed; its score is the mean of the
    seeds' scores. What the seeds differ in is therefore not in it, but in their standard deviation."""
    drawn = {task: _resampled(section, task, read) for task in section.rows[0].runs[0].scores}
    found = {}
    for column in section.columns:
        tasks = tasks_in(section, column)
        for row in section.rows:
            interval = _over_documents(row, [drawn[task] for task in tasks]) or _over_seeds(row, column)
            if interval is not None:
                found[row.name, column.name] = interval
    return found


@dataclass(frozen=True)
class _Resamples:
    """A task's resampled scores of those runs whose documents are known."""

    scores: Mapping[str, np.ndarray]
    """Fingerprint of a run -> (resamples,)."""
    documents: int


def _over_documents(row: Row, tasks: Sequence[_Resamples]) -> Interval | None:
    """The interval of the mean over tasks and seeds, where every run has resamples of each."""
    if not all(run.fingerprint in task.scores for task in tasks for run in row.runs):
        return None
    replicates = np.mean([task.scores[run.fingerprint] for task in tasks for run in row.runs], axis=0)
    return Interval(*percentile_interval(replicates, CONFIDENCE), sum(task.documents for task in tasks))


def _over_seeds(row: Row, column: Column) -> Interval | None:
    statistic: Statistic | None = row.scores.get(column.name)
    if statistic is None or len(statistic.values) < 2:
        return None
    values = np.array(list(statistic.values.values()))
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    return Interval(*percentile_interval(values[drawn].mean(axis=1), CONFIDENCE), None)


def _resampled(section: Section, task: str, read: Read) -> _Resamples:
    runs = [run for row in section.rows for run in row.runs]
    metric = runs[0].scores[task].metric
    known = {} if metric in CORPUS else {run.fingerprint: item for run, item in _known(runs, task, read)}
    if not known:
        return _Resamples({}, 0)
    first = next(iter(known.values()))
    same = {name: item for name, item in known.items() if item.answers.keys() == first.answers.keys()}
    values = np.array([[item.answers[question].value for item in same.values()] for question in first.answers])
    weights = np.array([answer.weight for answer in first.answers.values()])
    # By name, so that a task's interval does not depend on the tasks beside it, nor two tasks draw alike.
    drawn = resampled_scores(values, weights, metric, RESAMPLES, np.random.default_rng([0, zlib.crc32(task.encode())]))
    return _Resamples(dict(zip(same, drawn.T, strict=True)), len(weights))


def resampled_scores(
    values: np.ndarray, weights: np.ndarray, metric: str, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """(resamples, runs) scores over n documents drawn with replacement, the same for all runs.

    values: (n, runs) of the documents; weights: (n,) their denominators."""
    size, found = len(weights), []
    chances = np.full(size, 1 / size)
    batch = max(1, BATCH // size)
    for start in range(0, resamples, batch):
        counts = rng.multinomial(size, chances, size=min(batch, resamples - start)).astype(np.float64)
        found.append(score(metric, (counts @ values) / (counts @ weights)[:, None]))
    return np.concatenate(found)


def _known(runs: Sequence[RunRecord], task: str, read: Read) -> Iterator[tuple[RunRecord, Answered]]:
    """The runs whose documents are in the store, and whose recorded score is that of these documents."""
    for run in runs:
        try:
            item = answered(run, task, read)
        except (ReportError, SampleError, KeyError):
            # An evaluation that was moved away, or a metric that no single document has: the seeds are left.
            continue
        totals = np.array([(answer.value, answer.weight) for answer in item.answers.values()]).sum(axis=0)
        recorded, found = run.scores[task], float(score(run.scores[task].metric, totals[0] / totals[1]))
        if abs(found - recorded.value) <= CLOSE * max(1.0, abs(recorded.value)):
            yield run, item
