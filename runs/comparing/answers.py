"""The answers of two models to the same questions, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from siftune.evaluate.samples import Answer, Identity, read_answers
from siftune.runs.comparing.sides import Pair, called, task_settings
from siftune.runs.reporting.records import RECORD, ReportError, RunRecord

Answers = Mapping[Identity, Answer]


@dataclass(frozen=True)
class Answered:
    """A run's answers to the questions of a task."""

    run: RunRecord
    path: Path
    answers: Answers


@dataclass(frozen=True)
class PairedAnswers:
    """The answers of every pair of runs to n questions, which are the same for all."""

    task: str
    metric: str
    higher_is_better: bool
    pairs: tuple[tuple[Answered, Answered], ...]
    questions: tuple[Identity, ...]

    @cached_property
    def a(self) -> np.ndarray:
        """(pairs, n) float64 values of A's answers."""
        return self._values(0)

    @cached_property
    def b(self) -> np.ndarray:
        """(pairs, n) float64 values of B's answers."""
        return self._values(1)

    @cached_property
    def weights(self) -> np.ndarray:
        """(n,) float64 denominators: 1, or the documents' lengths."""
        answers = self.pairs[0][0].answers
        return np.array([answers[question].weight for question in self.questions])

    @property
    def binary(self) -> bool:
        """Whether every answer is right or wrong, and nothing between."""
        return bool(np.isin(np.concatenate([self.a, self.b]), (0.0, 1.0)).all() and (self.weights == 1).all())

    @property
    def improvement(self) -> np.ndarray:
        """(pairs, n) float64: how much better B's answers are than A's, by a unit of weight."""
        sign = 1.0 if self.higher_is_better else -1.0
        better: np.ndarray = sign * (self.b - self.a) / self.weights
        return better

    def _values(self, side: int) -> np.ndarray:
        return np.array([[pair[side].answers[question].value for question in self.questions] for pair in self.pairs])


Read = dict[Path, Answered]
"""Files of samples that were read before."""


def paired_answers(task: str, pairs: Sequence[Pair], read: Read | None = None) -> PairedAnswers:
    """The answers to a task's questions; ReportError where the questions, or how they were asked, are not the same.

    `read` keeps what is read, for the next call."""
    known: Read = {} if read is None else read
    found = tuple((answered(pair.a, task, known), answered(pair.b, task, known)) for pair in pairs)
    first = found[0][0]
    for one, other in found:
        for item in (one, other):
            _check_questions(task, first, item)
        _check_requests(task, one, other)
    score = pairs[0].a.scores[task]
    return PairedAnswers(task, score.metric, score.higher_is_better, found, tuple(first.answers))


def answered(run: RunRecord, task: str, read: Read) -> Answered:
    """A run's answers, read once; ReportError or SampleError where they are not in its store."""
    path = _evaluation(run) / "samples" / f"{task}.jsonl"
    if path not in read:
        read[path] = Answered(run, path, _answers(path, run, task))
    return read[path]


def _answers(path: Path, run: RunRecord, task: str) -> Answers:
    return read_answers(path, run.scores[task].metric, str(task_settings(run, task).get("filter", "none")))


def _evaluation(run: RunRecord) -> Path:
    """The folder of a run's evaluation, in the store that the run is in."""
    store = run.folder.resolve().parent.parent
    for path in (store / "evaluation").glob(f"*-{run.evaluation}"):
        if (path / RECORD).is_file():
            return path
    raise ReportError(
        f"the evaluation {run.evaluation} of {called(run)} is not in {store / 'evaluation'}: start the run again, and "
        "what is missing is computed"
    )


def _check_questions(task: str, one: Answered, other: Answered) -> None:
    only = [answers.keys() - others.keys() for answers, others in _both_ways(one.answers, other.answers)]
    if any(only):
        raise ReportError(
            f"{task} has other documents in {called(one.run)}, {len(one.answers)}, than in {called(other.run)}, "
            f"{len(other.answers)}: {len(only[0])} are only in the first and {len(only[1])} only in the second. "
            "Compare runs of one suite with one limit, on the same files"
        )


def _check_requests(task: str, one: Answered, other: Answered) -> None:
    for what, part in (("prompts", "prompt"), ("options or settings of the generation", "request")):
        differing = [q for q in one.answers if getattr(one.answers[q], part) != getattr(other.answers[q], part)]
        if differing:
            hint = "" if one.run.seed == other.run.seed else " (examples in a prompt may be drawn by the seed)"
            raise ReportError(
                f"{task}: {len(differing)} of {len(one.answers)} documents have other {what} in {called(one.run)} than "
                f"in {called(other.run)}{hint}. Compare runs with the same number of examples and one chat template; "
                f"the prompts are in {one.path} and {other.path}"
            )


def _both_ways(one: Answers, other: Answers) -> tuple[tuple[Answers, Answers], ...]:
    return (one, other), (other, one)
