"""A suite: the tasks that a model is evaluated on, and which of them make the headline."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

from siftune.evaluate.execution import CodeExecution
from siftune.evaluate.judged import JudgedTask
from siftune.evaluate.tasks import EvaluationError, ExactMatch, LMEvalTask, ResponseLoss, check_limit, near
from siftune.selection.features.endpoint.endpoint import Endpoint

Task = LMEvalTask | ResponseLoss | ExactMatch | JudgedTask


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Named tasks."""

    name: str = field(metadata={"identity": False})
    """Shown in tables and folder names."""
    tasks: Mapping[str, Task]
    """Name in tables -> task. A task takes one place in the headline, however many subtasks it has."""
    headline: tuple[str, ...] = ()
    """Names of the tasks whose mean is the headline; empty: all scores (higher is better, between 0 and 1)."""
    limit: int | None = None
    """Evaluate the first documents of each task only, for a quick look; null: all."""
    batch_size: int | None = field(default=None, metadata={"identity": False})
    """Sequences in a forward pass; null: as many as fit a number of positions that goes with the device."""
    folder: str | None = field(default=None, metadata={"identity": False})
    """A folder that the suite's paths may be written with: ${evaluate.folder}/file.jsonl."""
    data_dir: str | None = field(default=None, metadata={"identity": False})
    """A folder with files in place of the hub's data sets, for every task of lm-eval that names no files of its own."""
    judge: Endpoint | None = field(default=None, metadata={"identity": False})
    """A model that the suite's judged tasks may be written with: ${evaluate.judge.model}. They tell their own."""
    allow_code_execution: bool = field(default=False, metadata={"identity": False})
    """Allow tasks that execute programs which the model wrote (HumanEval, MBPP), each in a sandbox."""
    execution: CodeExecution = field(default_factory=CodeExecution, metadata={"identity": False})
    """The programs' limits. They enter the fingerprint through `inputs`, where programs are executed at all."""

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("evaluate.tasks is empty: name at least one task, or choose evaluate=none")
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"evaluate.batch_size={self.batch_size} must be at least 1, or null")
        check_limit(self.limit)
        if self.data_dir is not None:
            located = {name: _in_folder(task, self.data_dir) for name, task in self.tasks.items()}
            object.__setattr__(self, "tasks", located)
        for name in self.tasks:
            # A task's name is also the name of its result file.
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name):
                raise ValueError(f"evaluate.tasks: the name {name!r} may hold only letters, digits and . _ + -")
        self._check_headline()

    def inputs(self) -> dict[str, str]:
        """Content digests of what the tasks read, for the fingerprint; EvaluationError for a file that is not there."""
        inputs: dict[str, str] = {}
        refused: dict[str, EvaluationError] = {}
        for name in self.tasks:
            try:
                inputs |= {f"{name}.{key}": value for key, value in self.inputs_of(name).items()}
            except EvaluationError as error:
                refused[name] = error
        if refused:
            raise EvaluationError("; ".join(map(str, refused.values())) + self._how_without(refused)) from next(
                iter(refused.values())
            )
        return inputs | ({"execution": self.limits()} if self.allow_code_execution else {})

    def limit_of(self, name: str) -> int | None:
        """How many documents of a task are evaluated: its own limit, else the suite's, else None for all."""
        return self.tasks[name].limit or self.limit

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where the judges are."""
        return tuple(task.judge.endpoint for task in self.tasks.values() if isinstance(task, JudgedTask))

    def limits(self) -> str:
        """What bounds the programs that are executed, for the fingerprint."""
        limits = asdict(self.execution)
        del limits["workers"]
        return json.dumps(limits)

    def inputs_of(self, name: str) -> dict[str, str]:
        """Those of one task."""
        try:
            return self.tasks[name].inputs()
        except ValueError as error:
            hint = "" if self.folder is None else f" (evaluate.folder={self.folder})"
            raise EvaluationError(f"evaluate.tasks.{name}: {error}{hint}") from error

    def _how_without(self, refused: Iterable[str]) -> str:
        """What to type to leave out those of the tasks that have no file; a headline must not name them."""
        tasks = {name: self.tasks[name] for name in refused}
        without = [
            name
            for name, task in tasks.items()
            if isinstance(task, JudgedTask) or (isinstance(task, LMEvalTask) and task.reads_folder)
        ]
        if not without:
            return ""
        typed = " ".join(f"~evaluate.tasks.{name}" for name in without)
        noun = "task" if len(without) == 1 else "tasks"
        return f". To leave the {noun} out: {typed}{self.headline_without(without)}"

    def headline_without(self, left_out: Container[str]) -> str:
        """What to type besides where tasks are left out that the headline names; else nothing."""
        kept = [name for name in self.headline if name not in left_out]
        return "" if len(kept) == len(self.headline) else f" 'evaluate.headline=[{','.join(kept)}]'"

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


def _is_loss(task: Task) -> bool:
    return isinstance(task, ResponseLoss) or (isinstance(task, LMEvalTask) and task.higher_is_better is False)


def _in_folder(task: Task, data_dir: str) -> Task:
    if isinstance(task, JudgedTask):
        return task.in_folder(data_dir)
    if not isinstance(task, LMEvalTask) or task.data_dir is not None:
        return task
    return replace(task, data_dir=data_dir)
