"""A suite: the tasks that a model is evaluated on, and which of them make the headline."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from siftune.evaluate.execution import CodeExecution
from siftune.evaluate.tasks import EvaluationError, ExactMatch, LMEvalTask, ResponseLoss, check_limit, near


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Named tasks."""

    name: str = field(metadata={"identity": False})
    """Shown in tables and folder names."""
    tasks: Mapping[str, LMEvalTask | ResponseLoss | ExactMatch]
    """Name in tables -> task. A task takes one place in the headline, however many subtasks it has."""
    headline: tuple[str, ...] = ()
    """Names of the tasks whose mean is the headline; empty: all scores (higher is better, between 0 and 1)."""
    limit: int | None = None
    """Evaluate the first documents of each task only, for a quick look; null: all."""
    batch_size: int = field(default=16, metadata={"identity": False})
    """Sequences in a forward pass."""
    folder: str | None = field(default=None, metadata={"identity": False})
    """A folder that the suite's paths may be written with: ${evaluate.folder}/file.jsonl."""
    allow_code_execution: bool = field(default=False, metadata={"identity": False})
    """Allow tasks that execute programs which the model wrote (HumanEval, MBPP), each in a sandbox."""
    execution: CodeExecution = field(default_factory=CodeExecution, metadata={"identity": False})
    """The programs' limits. They enter the fingerprint through `inputs`, where programs are executed at all."""

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("evaluate.tasks is empty: name at least one task, or choose evaluate=none")
        if self.batch_size < 1:
            raise ValueError(f"evaluate.batch_size={self.batch_size} must be at least 1")
        check_limit(self.limit)
        for name in self.tasks:
            # A task's name is also the name of its result file.
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name):
                raise ValueError(f"evaluate.tasks: the name {name!r} may hold only letters, digits and . _ + -")
        self._check_headline()

    def inputs(self) -> dict[str, str]:
        """Content digests of what the tasks read, for the fingerprint; EvaluationError for a file that is not there."""
        inputs = {f"{name}.{key}": value for name in self.tasks for key, value in self._inputs_of(name).items()}
        return inputs | ({"execution": self._limits()} if self.allow_code_execution else {})

    def limit_of(self, name: str) -> int | None:
        """How many documents of a task are evaluated: its own limit, else the suite's, else None for all."""
        return self.tasks[name].limit or self.limit

    def _limits(self) -> str:
        limits = asdict(self.execution)
        del limits["workers"]
        return json.dumps(limits)

    def _inputs_of(self, name: str) -> dict[str, str]:
        try:
            return self.tasks[name].inputs()
        except ValueError as error:
            hint = "" if self.folder is None else f" (evaluate.folder={self.folder})"
            raise EvaluationError(f"evaluate.tasks.{name}: {error}{hint}") from error

    def _check_headline(self) -> None:
        for name in self.headline:
            if name not in self.tasks:
                known = ", ".join(self.tasks)
                hint = near(name, self.tasks)
                raise ValueError(f"evaluate.headline names {name!r}, which is not one of the tasks {known}{hint}")
        if len(set(self.headline)) < len(self.headline):
            raise ValueError(f"evaluate.headline names a task twice: {', '.join(self.headline)}")
        losses = [name for name in self.headline if _is_loss(self.tasks[name])]
        if losses and len(losses) < len(self.headline):
            scores = [name for name in self.headline if name not in losses]
            raise ValueError(
                f"evaluate.headline mixes losses ({', '.join(losses)}: lower is better) with scores "
                f"({', '.join(scores)}): their mean says nothing. Keep one kind"
            )


def _is_loss(task: LMEvalTask | ResponseLoss | ExactMatch) -> bool:
    return isinstance(task, ResponseLoss) or (isinstance(task, LMEvalTask) and task.higher_is_better is False)
