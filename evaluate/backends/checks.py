"""Which tasks a backend cannot evaluate: said before anything is computed."""

from __future__ import annotations

from siftune.evaluate import catalog
from siftune.evaluate.backends.config import Backend, ChatEndpoint
from siftune.evaluate.judged import JudgedTask
from siftune.evaluate.suite import Suite, Task
from siftune.evaluate.tasks import EvaluationError, LMEvalTask

TEMPLATE = "a chat endpoint is given turns: set ++evaluate.tasks.{name}.apply_chat_template=true"

BEGUN = (
    "it puts the beginning of the answer into the model's mouth: backend.continues=true, where the endpoint goes on "
    "with an assistant's turn that has begun (vLLM)"
)


def check_backend(suite: Suite, backend: Backend) -> None:
    """EvaluationError where its package is not there, or where it cannot do what a task asks."""
    problems = {name: problem for name, task in suite.tasks.items() if (problem := _problem(name, task, backend))}
    if problems:
        told = "; ".join(f"evaluate.tasks.{name}: {problem}" for name, problem in problems.items())
        without = " ".join(f"~evaluate.tasks.{name}" for name in problems)
        raise EvaluationError(
            f"{told}. backend=huggingface evaluates all tasks. To leave out what this backend cannot do: "
            f"{without}{suite.headline_without(problems)}"
        )
    backend.check()


def _problem(name: str, task: Task, backend: Backend) -> str | None:
    """Why the model, as this backend runs it, cannot be evaluated on the task."""
    if isinstance(task, JudgedTask):
        return None
    if not isinstance(task, LMEvalTask):
        return None if backend.scores_tokens else "it reads the model's own tokens, which a chat endpoint does not show"
    leaves = list(catalog.find(task).leaves())
    if not isinstance(backend, ChatEndpoint):
        return None
    if {leaf.config.get("output_type", "generate_until") for leaf in leaves} != {"generate_until"}:
        return "its answers are the likeliest of some, and a chat endpoint does not tell how likely a text is"
    if not task.apply_chat_template:
        return TEMPLATE.format(name=name)
    begins = any(leaf.config.get("gen_prefix") for leaf in leaves)
    return BEGUN if begins and not backend.continues else None
