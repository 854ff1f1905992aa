"""The questions that two models answer differently, with both outputs side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from siftune.evaluate.samples import answer_of, output_of, prompt_of, read_sample, target_of
from siftune.runs.comparing.answers import Answered, PairedAnswers

BETTER, WORSE, BOTH = "better", "worse", "both ways"
FLIPPED = {BETTER: "to right", WORSE: "to wrong", BOTH: BOTH}
"""What a change is called where answers are right or wrong."""


def flips(paired: PairedAnswers) -> list[dict[str, Any]]:
    """The questions whose answers count for more or less in B than in A, what changed most first.

    The outputs are those of the first pair of runs in which the question changed the way that it did over all."""
    found = []
    improvement = paired.improvement
    total = improvement.mean(axis=0)
    changed = np.flatnonzero((improvement != 0).any(axis=0))
    for position in changed[np.argsort(-np.abs(total[changed]), kind="stable")]:
        changes, over_all = improvement[:, position], total[position]
        like_it = changes != 0 if over_all == 0 else np.sign(changes) == np.sign(over_all)
        found.append(_flip(paired, int(position), int(np.flatnonzero(like_it)[0])))
    return found


def _flip(paired: PairedAnswers, position: int, number: int) -> dict[str, Any]:
    question = paired.questions[position]
    one, other = paired.pairs[number]
    asked = read_sample(one.path, one.answers[question].offset)
    total = paired.improvement[:, position].sum()
    change = BETTER if total > 0 else WORSE if total < 0 else BOTH
    return {
        "task": paired.task,
        "subtask": question.task,
        "doc_id": asked["doc_id"],
        "doc_hash": question.doc,
        "metric": paired.metric,
        "change": FLIPPED[change] if paired.binary else change,
        "values_a": [float(value) for value in paired.a[:, position] / paired.weights[position]],
        "values_b": [float(value) for value in paired.b[:, position] / paired.weights[position]],
        "prompt": prompt_of(asked),
        "target": target_of(asked),
        "a": _side(one, asked, paired.metric),
        "b": _side(other, read_sample(other.path, other.answers[question].offset), paired.metric),
    }


def _side(answered: Answered, sample: dict[str, Any], metric: str) -> dict[str, Any]:
    run = answered.run
    return {
        "run": run.fingerprint,
        "seed": run.seed,
        "output": output_of(sample, metric),
        "answer": answer_of(sample),
    }
