"""What a comparison of two models found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from siftune.runs.comparing.sides import Pair, Side
from siftune.runs.comparing.statistics import holm


@dataclass(frozen=True, kw_only=True)
class PairTest:
    """McNemar's test of two runs."""

    seed_a: int
    seed_b: int
    better: int
    worse: int
    p: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One task, or several taken together, in A and in B."""

    name: str
    metric: str
    higher_is_better: bool | None
    binary: bool
    """Whether an answer is right or wrong, and nothing between."""
    questions: int
    a: float
    """The score, a mean over A's runs."""
    b: float
    low: float | None
    """The interval of b - a; None where no question has a value of its own."""
    high: float | None
    better: int
    """Questions that went from wrong to right, summed over the pairs of runs; or whose value got better."""
    worse: int
    p: float | None
    adjusted: float | None = None
    """p after Holm's adjustment over the tasks; None for several tasks taken together."""
    pairs: tuple[PairTest, ...] = ()
    """The same test for each pair of runs, where there are several and answers are right or wrong."""
    note: str = ""

    @property
    def difference(self) -> float:
        """b - a."""
        return self.b - self.a


@dataclass(frozen=True, kw_only=True)
class CompareReport:
    """Two models, task by task."""

    a: Side
    b: Side
    pairs: tuple[Pair, ...]
    tasks: tuple[Difference, ...]
    together: tuple[Difference, ...]
    confidence: float
    resamples: int
    flips: tuple[Mapping[str, Any], ...]
    """One a question whose answer counts for more or less, task by task, what changed most first."""

    @property
    def title(self) -> str:
        """What is compared."""
        return f"A {self.a.name} · B {self.b.name}"

    def to_json(self) -> dict[str, Any]:
        """All but the questions."""
        return {
            "a": _side(self.a),
            "b": _side(self.b),
            "pairs": [{"a": pair.a.fingerprint, "b": pair.b.fingerprint} for pair in self.pairs],
            "confidence": self.confidence,
            "resamples": self.resamples,
            "tasks": [_difference(item) for item in self.tasks],
            "together": [_difference(item) for item in self.together],
            "questions": len(self.flips),
        }


def adjusted(tasks: Sequence[Difference]) -> tuple[Difference, ...]:
    """With Holm's adjustment over the tasks that have a test."""
    tested = [task.p for task in tasks if task.p is not None]
    values = iter(holm(tested))
    return tuple(task if task.p is None else replace(task, adjusted=next(values)) for task in tasks)


def _side(side: Side) -> dict[str, Any]:
    runs = [{"fingerprint": run.fingerprint, "seed": run.seed, "group": run.group} for run in side.runs]
    return {"name": side.name, "runs": runs}


def _difference(item: Difference) -> dict[str, Any]:
    values = {**vars(item), "difference": item.difference, "pairs": [vars(pair) for pair in item.pairs]}
    return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in values.items()}
