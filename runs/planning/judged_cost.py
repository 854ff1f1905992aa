"""What judged benchmarks take: the model's answers, as long as they may get, and what their judges charge."""

from __future__ import annotations

from collections.abc import Sequence

from siftune.evaluate.judged import JudgedTask, Question
from siftune.evaluate.suite import Suite
from siftune.runs.cost import Cost, ModelShape, Work, forward_flops, plain_flops
from siftune.runs.planning.reading_cost import CHARACTERS_PER_TOKEN


def judged_costs(suite: Suite, shape: ModelShape) -> dict[str, Cost]:
    """Those of the suite's judged tasks, by name."""
    tasks = {name: task for name, task in suite.tasks.items() if isinstance(task, JudgedTask)}
    return {name: judged_cost(task, shape, suite.limit_of(name)) for name, task in tasks.items()}


def judged_cost(task: JudgedTask, shape: ModelShape, limit: int | None) -> Cost:
    """One row a verdict; tokens by characters."""
    questions = task.questions(limit)
    prompts, written = _model_tokens(questions, task.decoding.max_new_tokens)
    longest = " " * int(task.decoding.max_new_tokens * CHARACTERS_PER_TOKEN)
    asks = [ask for question in questions for ask in task.asks(question, [longest] * len(question.asked))]
    read = sum(len(turn["content"]) for ask in asks for turn in ask.messages) / CHARACTERS_PER_TOKEN
    flops: dict[Work, float] = {
        "forward": forward_flops(shape, prompts, len(questions)),
        "generation": forward_flops(shape, written, written),
    }
    return Cost(
        rows=len(asks),
        tokens=int(prompts + written),
        flops=flops,
        formula_flops=plain_flops(shape, prompts + written),
        usd=task.judge.endpoint.usd(read, float(len(asks) * (task.judge.max_tokens or 0))),
    )


def _model_tokens(questions: Sequence[Question], longest: int) -> tuple[float, float]:
    """Tokens of all prompts, of which each holds the answers before it, and of the answers."""
    prompts = written = 0.0
    for question in questions:
        before = sum(len(turn["content"] or "") for turn in question.history) / CHARACTERS_PER_TOKEN
        for turn, asked in enumerate(question.asked):
            before += len(asked) / CHARACTERS_PER_TOKEN
            prompts += before + turn * longest
            written += longest
    return prompts, written
