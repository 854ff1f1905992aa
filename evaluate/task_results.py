"""From what lm-eval's harness returns to the result of a task, and the lines of its documents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from lm_eval.utils import handle_non_serializable

from siftune.evaluate.conversations import ratio_stderr
from siftune.evaluate.loading import Loaded
from siftune.evaluate.results import TaskResult
from siftune.evaluate.tasks import EvalTask, EvaluationError, ExactMatch, LMEvalTask, ResponseLoss


def task_result(name: str, task: EvalTask, loaded: Loaded, results: Mapping[str, Any]) -> TaskResult:
    """The task's value among what lm-eval found of it and of its group; EvaluationError where it is not there."""
    values = results["results"][loaded.name]
    metric, key = _metric_key(task)
    measured = {k: float(v) for k, v in values.items() if "," in k and isinstance(v, (int, float, np.number))}
    scores = {k: v for k, v in measured.items() if "_stderr," not in k}
    if key not in scores:
        raise EvaluationError(f"metric {key!r} was not among what it measured: {', '.join(scores)} (metric,filter)")
    return TaskResult(
        name=name,
        metric=metric,
        value=scores[key],
        stderr=_stderr(task, measured.get(key.replace(",", "_stderr,", 1)), scores[key], results["samples"]),
        higher_is_better=_direction(task, {results["higher_is_better"][leaf].get(metric) for leaf in loaded.tasks}),
        samples=int(values["sample_len"]),
        details={k: v for k, v in scores.items() if k != key and np.isfinite(v)},
    )


def _stderr(
    task: EvalTask, told: float | None, value: float, samples: Mapping[str, list[dict[str, Any]]]
) -> float | None:
    """lm-eval's standard error. It has none of a group with a single question of each of its tasks: the questions of
    all are then taken for one sample, where the value is their mean."""
    rows = [row for own in samples.values() for row in own]
    if isinstance(task, ResponseLoss):
        return ratio_stderr([row["nats_per_byte"] for row in rows])
    if told is not None and np.isfinite(told):
        return told
    if not isinstance(task, LMEvalTask) or len(samples) == 1:
        return None
    marks = [row[task.metric] for row in rows if row.get("filter") == task.filter and task.metric in row]
    if len(marks) < 2 or not all(isinstance(mark, (int, float, np.number)) for mark in marks):
        return None
    return float(np.std(marks, ddof=1) / np.sqrt(len(marks))) if np.isclose(np.mean(marks), value) else None


def _metric_key(task: EvalTask) -> tuple[str, str]:
    if isinstance(task, LMEvalTask):
        return task.metric, f"{task.metric},{task.filter}"
    metric = "exact_match" if isinstance(task, ExactMatch) else "nats_per_byte"
    return metric, f"{metric},none"


def _direction(task: EvalTask, known: set[bool | None]) -> bool:
    """By its tasks: of a group of groups (MMLU) lm-eval does not tell."""
    if isinstance(task, LMEvalTask) and task.higher_is_better is not None:
        return task.higher_is_better
    if len(known) > 1 or None in known:
        raise EvaluationError("lm-eval does not say which direction of its metric is better: set higher_is_better")
    return True in known


def sample_lines(samples: Mapping[str, list[dict[str, Any]]]) -> Iterator[str]:
    """One JSON object a document of any of the tasks, each line with its line feed."""
    for task, rows in samples.items():
        for row in rows:
            yield json.dumps({"task": task, **row}, default=handle_non_serializable, ensure_ascii=False) + "\n"
