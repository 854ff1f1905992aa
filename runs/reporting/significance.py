"""Which methods differ from random on the same questions, and whether that is more than luck."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from siftune.evaluate.samples import SampleError, score
from siftune.runs.comparing.answers import PairedAnswers, Read, paired_answers
from siftune.runs.comparing.sides import Side, pair_up
from siftune.runs.comparing.statistics import holm, p_value, paired_bootstrap, percentile_interval
from siftune.runs.reporting.headline import tasks_in
from siftune.runs.reporting.intervals import CONFIDENCE, RESAMPLES
from siftune.runs.reporting.records import ReportError
from siftune.runs.reporting.rows import RANDOM, Column, Row, Section, Statistic, improvement
from siftune.runs.reporting.variants import leaves

LEVEL = 1 - CONFIDENCE


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A method against random in one column; positive is better, whatever the column's direction."""

    improvement: Statistic
    interval: tuple[float, float] | None = None
    """Paired bootstrap over the questions; None where they are not known."""
    questions: int = 0
    better: int = 0
    """Questions answered better, the seeds taken together."""
    worse: int = 0
    p: float | None = None
    adjusted: float | None = None
    """Holm's, over the methods."""

    @property
    def significant(self) -> bool:
        """Whether it is, after the adjustment."""
        return self.adjusted is not None and self.adjusted < LEVEL


@dataclass(frozen=True)
class Differences:
    """All methods against random."""

    found: Mapping[tuple[str, str], Difference]
    """(row, column) -> difference."""
    binary: bool
    """Whether any test was of answers that are right or wrong."""
    values: bool
    """Whether any test was of other values."""
    untested: tuple[str, ...]
    """Why some have no test."""


def against_random(section: Section, read: Read) -> Differences | None:
    """Every method against random in every column; None where there is no random selection, or nothing beside it."""
    references = {row.name: other for row in section.rows if (other := reference_of(section, row)) is not None}
    rows = [row for row in section.rows if row.name in references]
    columns = [column for column in section.columns if column.higher_is_better is not None]
    if not rows or not columns:
        return None
    answers, why = _answers(section, rows, references, read)
    replicates = {key: _replicates(paired) for key, paired in answers.items()}
    found: dict[tuple[str, str], Difference] = {}
    for column in columns:
        tasks = tasks_in(section, column)
        differences = {
            row.name: _difference(row, references[row.name], column, tasks, answers, replicates) for row in rows
        }
        found |= {(name, column.name): item for name, item in _adjusted(differences).items()}
    kinds = {paired.binary for paired in answers.values()}
    return Differences(found, True in kinds, False in kinds, tuple(why))


def reference_of(section: Section, row: Row) -> Row | None:
    """The random selection that a method is held against: the only one, or of several (an ablation of the training)
    that of the same settings but for the selection's own. None for random itself and the base model."""
    if row.is_base or row.label == RANDOM:
        return None
    if section.random is not None:
        return section.random
    wanted = _without_selection(row)
    found = [other for other in section.rows if other.label == RANDOM and _without_selection(other) == wanted]
    return found[0] if len(found) == 1 else None


def _without_selection(row: Row) -> dict[str, str]:
    settings = leaves(row.runs[0])
    return {path: value for path, value in settings.items() if not path.startswith("selection.")}


Answers = dict[tuple[str, str], PairedAnswers]
"""(row, task) -> its answers beside random's."""


def _answers(
    section: Section, rows: Sequence[Row], references: Mapping[str, Row], read: Read
) -> tuple[Answers, list[str]]:
    found: Answers = {}
    why: dict[str, None] = {}
    for row in rows:
        random = references[row.name]
        for task in section.rows[0].runs[0].scores:
            try:
                pairs = pair_up(Side(random.name, random.runs), Side(row.name, row.runs))
                found[row.name, task] = paired_answers(task, pairs, read)
            except (ReportError, SampleError, KeyError) as error:
                why[f"{row.name}, {task}: {error}"] = None
    return found, list(why)


def _difference(
    row: Row,
    random: Row,
    column: Column,
    tasks: Sequence[str],
    answers: Answers,
    replicates: Mapping[tuple[str, str], np.ndarray],
) -> Difference | None:
    better = improvement(row, random, column)
    if better is None:
        return None
    paired = [answers[row.name, task] for task in tasks if (row.name, task) in answers]
    kinds = {"right or wrong" if item.binary else item.metric for item in paired}
    if len(paired) < len(tasks) or len(kinds) != 1:
        return Difference(improvement=better)
    changes = np.concatenate([item.improvement for item in paired], axis=1)
    net = changes.sum(axis=0)
    drawn = np.mean([replicates[row.name, task] for task in tasks], axis=0)
    return Difference(
        improvement=better,
        interval=percentile_interval(drawn, CONFIDENCE),
        questions=changes.shape[1],
        better=int((net > 0).sum()),
        worse=int((net < 0).sum()),
        p=p_value(changes, paired[0].binary),
    )


def _replicates(paired: PairedAnswers) -> np.ndarray:
    """(resamples,) improvements of the task's score, each on questions drawn with replacement."""
    rng = np.random.default_rng([0, zlib.crc32(paired.task.encode())])
    means = paired.a.mean(axis=0), paired.b.mean(axis=0)
    found = paired_bootstrap(*means, paired.weights, lambda mean: score(paired.metric, mean), RESAMPLES, rng)
    return found if paired.higher_is_better else -found


def _adjusted(differences: Mapping[str, Difference | None]) -> dict[str, Difference]:
    found = {name: item for name, item in differences.items() if item is not None}
    p_values = {name: item.p for name, item in found.items() if item.p is not None}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return {name: replace(item, adjusted=adjusted.get(name)) for name, item in found.items()}
