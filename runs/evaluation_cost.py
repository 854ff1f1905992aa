"""What the evaluation tasks on conversations take."""

from __future__ import annotations

from siftune.evaluate.tasks import EvalTask, ExactMatch
from siftune.runs.cost import Cost, ModelShape, Work, forward_flops
from siftune.runs.lengths import Lengths


def task_cost(task: EvalTask, shape: ModelShape, lengths: Lengths, limit: int | None) -> Cost:
    """The first `limit` rows: their responses predicted, or answers written, as long as they may get."""
    rows = min(len(lengths.tokens), limit or len(lengths.tokens))
    whole, said = float(lengths.tokens[:rows].sum()), float(lengths.responses[:rows].sum())
    if not isinstance(task, ExactMatch):
        return Cost(rows=rows, tokens=int(whole), flops={"forward": forward_flops(shape, whole, said)})
    written, prompts = rows * task.max_new_tokens, whole - said
    flops: dict[Work, float] = {
        "forward": forward_flops(shape, prompts, rows),
        "generation": forward_flops(shape, written, written),
    }
    return Cost(rows=rows, tokens=int(prompts + written), flops=flops)
