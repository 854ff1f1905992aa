"""An lm-eval task's documents as rows: what a selection takes as its queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lm_eval.api.task import ConfigurableTask, Task

from siftune.evaluate.loading import load
from siftune.evaluate.tasks import EvaluationError, LMEvalTask, digest
from siftune.selection.pool.source import PoolSource, Record

Split = Literal["train", "validation", "test", "fewshot"]


@dataclass(frozen=True, kw_only=True)
class BenchmarkPool(PoolSource):
    """The documents of an lm-eval task or group as conversations of two turns: the task's prompt without examples or
    description, and its answer (for a multiple choice the text of the right choice).

    The pool's source is the task's name. `rows` slices the documents of all tasks of a group, one task after another.
    """

    task: str = field(metadata={"identity": False})
    """As in LMEvalTask: a task or group by name, or a .yaml file."""
    split: Split = "fewshot"
    """Which documents: those that the task itself takes its examples from, or its training, validation or test split.
    Queries from the split that is evaluated leak the answers into the selection."""
    data_files: Mapping[str, str] = field(default_factory=dict, metadata={"identity": False})
    """As in LMEvalTask: split -> local file."""

    def inputs(self) -> dict[str, str]:
        """The task's name or its file's digest, and the digests of the data files."""
        path = self._lm_eval_task().path
        named = {"task": self.task if path is None else digest(path)}
        return named | {f"data_files.{split}": digest(Path(file)) for split, file in self.data_files.items()}

    def records(self) -> Iterator[Record]:
        """One record a document."""
        for name, task in load(self._lm_eval_task()).tasks.items():
            for line, doc in enumerate(self._documents(name, task), start=1):
                prompt, answer = prompt_and_answer(task, doc)
                messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
                yield Record({"messages": messages, "source": name}, f"{name}/{self.split}", line)

    def _lm_eval_task(self) -> LMEvalTask:
        # The metric plays no part: nothing is evaluated.
        return LMEvalTask(task=self.task, metric="none", data_files=self.data_files)

    def _documents(self, name: str, task: Task) -> list[Any]:
        documents = {
            "train": task.training_docs,
            "validation": task.validation_docs,
            "test": task.test_docs,
            "fewshot": task.fewshot_docs,
        }[self.split]()
        if not documents:
            have = [
                split
                for split, has in (
                    ("train", task.has_training_docs()),
                    ("validation", task.has_validation_docs()),
                    ("test", task.has_test_docs()),
                )
                if has
            ]
            raise EvaluationError(
                f"pool {self.name}: the task {name} has no split {self.split!r}, it has {', '.join(have)}"
            )
        return list(documents)


def prompt_and_answer(task: Task, doc: Mapping[str, Any]) -> tuple[str, str]:
    """A document as the task words it."""
    prompt, answer = task.doc_to_text(doc), task.doc_to_target(doc)
    if isinstance(task, ConfigurableTask) and task.config.doc_to_choice is not None:
        choices = task.doc_to_choice(doc)
        # Some tasks put the choices into the prompt's place and score one continuation (WinoGrande).
        prompt = choices[prompt] if isinstance(prompt, int) else prompt
        answer = choices[answer] if isinstance(answer, int) else answer
    if isinstance(answer, (list, tuple)):
        answer = answer[0]
    return str(prompt).strip(), str(answer).strip()
