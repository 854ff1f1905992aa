"""Results of single tasks in the store: an evaluation takes over those that another suite's evaluation has found."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from siftune.evaluate.catalog import executing
from siftune.evaluate.harness import result_file, samples_file
from siftune.evaluate.suite import Suite
from siftune.evaluate.tasks import LMEvalTask
from siftune.runs.artifacts import write_json
from siftune.runs.fingerprint import fingerprint

FOLDER = "task_results"
VERSION = 1
"""Of evaluations and of their tasks: raised when the same task would be evaluated otherwise."""
RESULT, SAMPLES, KEPT = "result.json", "samples.jsonl", "kept.json"


class TaskResults:
    """Results of a suite's tasks for one model.

    A task is the same one whatever suite it stands in: what counts is its name, its own settings, its data, how many
    documents of it are evaluated, and the model.
    """

    def __init__(self, store: Path, suite: Suite, model: Mapping[str, str]) -> None:
        """model: fingerprints of what is evaluated and of who runs it."""
        self._folders = {name: store / FOLDER / f"{name}-{_key(suite, name, model)}" for name in suite.tasks}

    def missing(self) -> list[str]:
        """The tasks without a result."""
        return [name for name, folder in self._folders.items() if not (folder / KEPT).is_file()]

    def take(self, evaluation: Path) -> dict[str, float]:
        """Put what there is into the folder of an evaluation; tasks that it lacked -> the seconds that they took."""
        taken = {}
        for name, folder in self._folders.items():
            if (folder / KEPT).is_file() and not result_file(evaluation, name).exists():
                # The result comes last: with it the task is done.
                _link(folder / SAMPLES, samples_file(evaluation, name))
                _link(folder / RESULT, result_file(evaluation, name))
                taken[name] = float(json.loads((folder / KEPT).read_text(encoding="utf-8"))["seconds"])
        return taken

    def keep(self, evaluation: Path, seconds: Mapping[str, float]) -> None:
        """Take from the folder of an evaluation what it has found; seconds: of the tasks that were measured now."""
        for name, folder in self._folders.items():
            if result_file(evaluation, name).is_file() and not (folder / KEPT).is_file():
                _link(samples_file(evaluation, name), folder / SAMPLES)
                _link(result_file(evaluation, name), folder / RESULT)
                # Written last: another process that keeps the same result at the same time writes the same files.
                write_json(folder / KEPT, {"name": name, "seconds": round(seconds.get(name, 0.0), 3)})


def _key(suite: Suite, name: str, model: Mapping[str, str]) -> str:
    task = suite.tasks[name]
    inputs = {**model, **suite.inputs_of(name)}
    if isinstance(task, LMEvalTask) and executing(task):
        inputs["execution"] = suite.limits()
    return fingerprint(
        version=VERSION, config={"name": name, "task": task, "limit": suite.limit_of(name)}, inputs=inputs
    )


def _link(source: Path, to: Path) -> None:
    """The same file under another name, which takes no room (a copy where the file system has no links); there is
    never a part of it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".") as folder:
        made = Path(folder) / to.name
        try:
            os.link(source, made)
        except OSError:
            shutil.copyfile(source, made)
        made.replace(to)
