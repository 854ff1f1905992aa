"""The metric `code_eval`, by which HumanEval, MBPP and their relatives judge programs, with siftune's sandbox.

lm-eval's task modules load HuggingFace's metric of that name from the hub when they are imported. It executes programs
with no more protection than a time limit. `in_place_of_the_hubs` gives them this one: the same arguments and values.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from lm_eval.api.task import Task
from lm_eval.tasks._yaml_loader import load_yaml
from tqdm import tqdm

from siftune.evaluate.catalog import Definition
from siftune.evaluate.execution import CodeExecution
from siftune.evaluate.sandbox import Verdict, execute
from siftune.evaluate.tasks import EvaluationError

_hub: Any = importlib.import_module("evaluate")
"""HuggingFace's package; type checkers take the name for siftune's own folder."""


class CodeEval:
    """Executes candidates followed by their tests. It executes nothing but inside `allowed`."""

    def __init__(self) -> None:
        self._limits: CodeExecution | None = None
        self._verdicts: dict[str, Verdict] = {}
        self._wanted: dict[str, None] | None = None

    def compute(
        self,
        *,
        predictions: Sequence[Sequence[str]],
        references: Sequence[str],
        k: Sequence[int] = (1, 10, 100),
        **ignored: Any,
    ) -> tuple[dict[str, float], dict[int, list[tuple[int, dict[str, Any]]]]]:
        """HuggingFace's `compute`: pass@k over the problems, and problem -> (candidate, what became of it)."""
        found: dict[int, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        for problem, (candidates, tests) in enumerate(zip(predictions, references, strict=True)):
            for number, candidate in enumerate(candidates):
                verdict = self._verdict(f"{candidate}\n{tests}")
                result = "passed" if verdict.passed else f"failed: {verdict.reason}"
                details = {"task_id": problem, "passed": verdict.passed, "result": result, "completion_id": number}
                found[problem].append((number, details))
        counts = [(len(c), sum(d["passed"] for _, d in found[problem])) for problem, c in enumerate(predictions)]
        scores = {
            f"pass@{size}": float(np.mean([pass_at_k(n, right, size) for n, right in counts]))
            for size in k
            if all(n >= size for n, _ in counts)
        }
        return scores, dict(found)

    @contextlib.contextmanager
    def allowed(self, limits: CodeExecution, tasks: Mapping[str, Task]) -> Iterator[None]:
        """Let the tasks' programs be executed, all at once as soon as a task has its programs: on all cores, with a
        progress bar."""
        self._limits = limits
        try:
            for name, task in tasks.items():
                _after_filters(task, lambda name=name, task=task: self._execute_all(name, task))  # type: ignore[misc]
            yield
        finally:
            self._limits = None
            self._verdicts.clear()

    @contextlib.contextmanager
    def asking(self) -> Iterator[Mapping[str, None]]:
        """In here programs are only noted, in the order in which they are asked for, and have failed."""
        self._wanted = {}
        try:
            yield self._wanted
        finally:
            self._wanted = None

    def _verdict(self, program: str) -> Verdict:
        if self._wanted is not None:
            self._wanted[program] = None
            return Verdict(False)
        if self._limits is None:
            raise EvaluationError("code that a model wrote is executed only with evaluate.allow_code_execution=true")
        if program not in self._verdicts:
            self._verdicts[program] = execute(program, self._limits)
        return self._verdicts[program]

    def _execute_all(self, name: str, task: Task) -> None:
        assert self._limits is not None
        limits = self._limits
        programs = [program for program in self._programs(task) if program not in self._verdicts]
        stop = threading.Event()

        def run(program: str) -> Verdict | None:
            return None if stop.is_set() else execute(program, limits)

        with ThreadPoolExecutor(limits.at_a_time()) as pool:
            try:
                verdicts = tqdm(pool.map(run, programs), total=len(programs), desc=f"Executing {name}'s programs")
                for program, verdict in zip(programs, verdicts, strict=True):
                    assert verdict is not None
                    self._verdicts[program] = verdict
            finally:
                stop.set()

    def _programs(self, task: Task) -> list[str]:
        """What the task's metrics ask to have executed, found out by letting them ask."""
        with self.asking() as wanted:
            for instance in {instance.doc_id: instance for instance in task.instances}.values():
                for responses in instance.filtered_resps.values():
                    task.process_results(instance.doc, [responses])
            return list(wanted)


CODE_EVAL = CodeEval()
"""The one that task modules keep: they load it when they are imported, once in a process."""


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The unbiased estimator of arXiv:2107.03374: the chance that k of the samples, drawn without replacement, hold a
    correct one."""
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


@contextlib.contextmanager
def in_place_of_the_hubs() -> Iterator[None]:
    """Task modules that are imported in here get `CODE_EVAL` for the hub's metric."""
    from_the_hub = _hub.load

    def load(path: str, *args: Any, **kwargs: Any) -> Any:
        return CODE_EVAL if path == "code_eval" else from_the_hub(path, *args, **kwargs)

    _hub.load = load
    try:
        # They try the metric out as they are imported.
        with CODE_EVAL.asking():
            yield
    finally:
        _hub.load = from_the_hub


def check_enclosed(definition: Definition) -> None:
    """EvaluationError for a task that would execute programs in any other way."""
    with in_place_of_the_hubs():
        config = {} if definition.path is None else load_yaml(definition.path)
    metrics = [item["metric"] for item in config.get("metric_list") or ()]
    functions = [item for item in (*metrics, config.get("process_results")) if callable(item)]
    if not functions or not all(_uses_it(function) for function in functions):
        raise EvaluationError(
            f"the task {definition.name} executes what the model wrote in a way of its own, not by the metric "
            "code_eval, which is what runs in siftune's sandbox: leave it out"
        )


def _uses_it(function: Callable[..., Any]) -> bool:
    names = getattr(function, "__globals__", {}).values()
    return any(value is CODE_EVAL for value in names) and not any(isinstance(v, _hub.EvaluationModule) for v in names)


def _after_filters(task: Task, then: Callable[[], None]) -> None:
    """lm-eval calls the metrics document by document once the filters have made programs of the model's replies."""
    apply_filters = task.apply_filters

    def both() -> Any:
        result = apply_filters()
        then()
        return result

    task.apply_filters = both
