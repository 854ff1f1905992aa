"""What the evaluation tasks on conversations take."""

from __future__ import annotations

from siftune.evaluate.suite import Task
from siftune.evaluate.tasks import ExactMatch
from siftune.runs.cost import Cost, ModelShape, Work, forward_flops, plain_flops
from siftune.runs.planning.lengths import Lengths


def task_cost(task: Task, shape: ModelShape, lengths: Lengths, limit: int | None) -> Cost:
    """The first `limit` rows: their responses predicted, or answers written, as long as they may get."""
    rows = min(len(lengths.tokens), limit or len(lengths.tokens))
    whole, said = float(lengths.tokens[:rows].sum()), float(lengths.responses[:rows].sum())
    if not isinstance(task, ExactMatch):
        read: dict[Work, float] = {"forward": forward_flops(shape, whole, said)}
        return Cost(rows=rows, tokens=int(whole), flops=read, formula_flops=plain_flops(shape, whole))
    written, prompts = rows * task.max_new_tokens, whole - said
    flops: dict[Work, float] = {
        "forward": forward_flops(shape, prompts, rows),
        "generation": forward_flops(shape, written, written),
    }
    tokens = prompts + written
    return Cost(rows=rows, tokens=int(tokens), flops=flops, formula_flops=plain_flops(shape, tokens))
