"""Which tasks a backend cannot evaluate: said before anything is computed."""

from __future__ import annotations

from siftune.evaluate import catalog
from siftune.evaluate.backends.config import Backend
from siftune.evaluate.judged import JudgedTask
from siftune.evaluate.suite import Suite, Task
from siftune.evaluate.tasks import EvaluationError, LMEvalTask

TEMPLATE = "a chat endpoint is given turns: set ++evaluate.tasks.{name}.apply_chat_template=true"


def check_backend(suite: Suite, backend: Backend) -> None:
    """EvaluationError where its package is not there, or where it cannot do what a task asks."""
    if not backend.scores_tokens:
        problems = {name: problem for name, task in suite.tasks.items() if (problem := _problem(name, task))}
        if problems:
            told = "; ".join(f"evaluate.tasks.{name}: {problem}" for name, problem in problems.items())
            without = " ".join(f"~evaluate.tasks.{name}" for name in problems)
            raise EvaluationError(
                f"{told}. backend=completions, vllm and huggingface evaluate all tasks. To leave out what a chat "
                f"endpoint cannot do: {without}{suite.headline_without(problems)}"
            )
    backend.check()


def _problem(name: str, task: Task) -> str | None:
    """Why a model that only writes, and is given turns, cannot be evaluated on it."""
    if isinstance(task, JudgedTask):
        return None
    if not isinstance(task, LMEvalTask):
        return "it reads the model's own tokens, which a chat endpoint does not show"
    kinds = {leaf.config.get("output_type", "generate_until") for leaf in catalog.find(task).leaves()}
    if kinds != {"generate_until"}:
        return "its answers are the likeliest of some, and a chat endpoint does not tell how likely a text is"
    return None if task.apply_chat_template else TEMPLATE.format(name=name)
