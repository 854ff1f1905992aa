"""Evaluating a model on a suite: the boundary to lm-eval."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval.api.task import Task
from lm_eval.evaluator import evaluate
from transformers import PreTrainedTokenizerBase

from siftune.evaluate import catalog
from siftune.evaluate.backends.checks import check_backend
from siftune.evaluate.backends.config import HERE, Backend
from siftune.evaluate.backends.running import Running
from siftune.evaluate.code_eval import CODE_EVAL, check_enclosed
from siftune.evaluate.conversations import ConversationTask, ExactMatchTask, ResponseLossTask
from siftune.evaluate.judged import JudgedTask
from siftune.evaluate.judging import JudgedRun
from siftune.evaluate.loading import Loaded, load
from siftune.evaluate.quiet import quiet
from siftune.evaluate.results import SuiteResult, TaskResult, suite_result
from siftune.evaluate.sandbox import check_sandbox
from siftune.evaluate.suite import Suite
from siftune.evaluate.task_results import sample_lines, task_result
from siftune.evaluate.tasks import EvaluationError, LMEvalTask, ResponseLoss
from siftune.evaluate.token_counts import Meter
from siftune.finetune.model import ModelRef, load_tokenizer
from siftune.selection.files import write_whole
from siftune.selection.pool.source import PoolSource
from siftune.selection.pool.store import Pool

BOOTSTRAP_ITERATIONS = 1000
"""For the metrics whose standard error lm-eval bootstraps; its own 100,000 take minutes and change no digit shown."""


def validate_suite(suite: Suite, *, evaluated: bool = True, backend: Backend = HERE) -> None:
    """Refuse what can be seen to fail, in seconds and without a model; EvaluationError names the task.

    That is unknown tasks, metrics and filters, missing files, and data of the hub where it cannot be reached; where the
    suite is `evaluated` (by `backend`) and not only read, also programs that may not or cannot be executed, and what
    the backend cannot do.
    """
    suite.inputs()
    for name, task in suite.tasks.items():
        if isinstance(task, LMEvalTask):
            with _naming(name):
                catalog.check(task)
                if evaluated:
                    catalog.check_judging(task)
        elif isinstance(task, JudgedTask):
            with _naming(name):
                task.check(suite.limit_of(name))
    if evaluated:
        _check_execution(suite)
        check_backend(suite, backend)


def evaluate_suite(
    ref: ModelRef,
    suite: Suite,
    folder: Path,
    seed: int = 0,
    *,
    pools: Callable[[PoolSource], Pool],
    backend: Backend = HERE,
    on_task: Callable[[str], None] = lambda name: None,
    verdicts: Path | None = None,
) -> SuiteResult:
    """Evaluate the model on every task that `folder` holds no result of yet, and give the results of all.

    A task is the unit of resume: tasks/<name>.json is written last and atomically, after samples/<name>.jsonl (the
    prompts, the model's outputs and their metrics, document by document). The same seed gives the same result whatever
    was there before. All data is read before the model is loaded, which `backend` runs. `on_task` is told of each task
    before it runs: its name, and after a colon what people should know of its documents. `verdicts` is a folder where
    judges' replies are kept for other evaluations too, and in a folder `replies` beside it those of an evaluated
    endpoint; None: in `folder`.
    """
    pending = [name for name in suite.tasks if not result_file(folder, name).exists()]
    if pending:
        _check_execution(suite)
        with quiet():
            tokenizer = load_tokenizer(ref) if backend.scores_tokens else None
            judged = {name: _judged(name, suite) for name in pending if isinstance(suite.tasks[name], JudgedTask)}
            loaded = {name: _load(name, suite, tokenizer, pools) for name in pending if name not in judged}
            kept = verdicts or folder / "verdicts"
            running = backend.start(ref, tokenizer, suite.batch_size, kept.with_name("replies"))
            for name in pending:
                on_task(": ".join([name, *(loaded[name].notes if name in loaded else ())]))
                if name in loaded:
                    _evaluate_task(running, name, suite, loaded[name], folder, seed)
                else:
                    with _naming(name):
                        meter = Meter(running)
                        result = judged[name].evaluate(running, folder, kept, seed)
                    _write_result(folder, meter.told(result))
    results = {name: TaskResult.from_json(name, _read(result_file(folder, name))) for name in suite.tasks}
    return suite_result(results, suite.headline)


def _check_execution(suite: Suite) -> None:
    """EvaluationError where the suite would execute programs without leave to, or where no sandbox can be made."""
    found = {name: catalog.executing(task) for name, task in suite.tasks.items() if isinstance(task, LMEvalTask)}
    executing = {name: leaves for name, leaves in found.items() if leaves}
    if not executing:
        return
    if not suite.allow_code_execution:
        without = " ".join(f"~evaluate.tasks.{name}" for name in executing)
        raise EvaluationError(
            f"evaluate.tasks: {', '.join(executing)} would execute programs that the model wrote. "
            "evaluate.allow_code_execution=true allows that, each program in a sandbox of its own (no network, none of "
            f"your files, limits on time and memory). To leave it out: {without}"
        )
    for name, leaves in executing.items():
        with _naming(name):
            for leaf in leaves:
                check_enclosed(leaf)
    check_sandbox(suite.execution)


def _judged(name: str, suite: Suite) -> JudgedRun:
    task = suite.tasks[name]
    assert isinstance(task, JudgedTask)
    with _naming(name):
        return JudgedRun(name, task, task.questions(suite.limit_of(name)))


def _load(
    name: str, suite: Suite, tokenizer: PreTrainedTokenizerBase | None, pools: Callable[[PoolSource], Pool]
) -> Loaded:
    task = suite.tasks[name]
    with _naming(name):
        if isinstance(task, LMEvalTask):
            catalog.check(task)
            return load(task)
        assert not isinstance(task, JudgedTask)
        assert tokenizer is not None, "refused of a backend that is given turns"
        pool = pools(task.data)
        count = min(len(pool), suite.limit_of(name) or len(pool))
        if count == 0:
            raise EvaluationError(f"its data {task.data.name} has no row")
        rows = list(pool.rows(range(count)))
        built: ConversationTask
        if isinstance(task, ResponseLoss):
            built = ResponseLossTask(name, rows, tokenizer)
        else:
            built = ExactMatchTask(name, rows, tokenizer, max_new_tokens=task.max_new_tokens)
        return Loaded(name, {name: built}, {})


def _evaluate_task(running: Running, name: str, suite: Suite, loaded: Loaded, folder: Path, seed: int) -> None:
    task = suite.tasks[name]
    assert not isinstance(task, JudgedTask)
    _seed_everything(loaded.tasks, seed)
    meter = Meter(running)
    on_documents = isinstance(task, LMEvalTask)
    # Of an allowed suite, too, only those tasks whose definition says so: nothing else makes programs.
    programs = {leaf: one for leaf, one in loaded.tasks.items() if getattr(one, "UNSAFE_CODE", False)}
    executing = suite.allow_code_execution and bool(programs)
    with CODE_EVAL.allowed(suite.execution, programs) if executing else contextlib.nullcontext():
        results = evaluate(
            lm=running.lm,
            task_dict={"tasks": dict(loaded.tasks), "groups": dict(loaded.groups)},
            limit=suite.limit_of(name) if on_documents else None,
            bootstrap_iters=BOOTSTRAP_ITERATIONS,
            apply_chat_template=isinstance(task, LMEvalTask) and task.apply_chat_template,
            fewshot_as_multiturn=isinstance(task, LMEvalTask) and task.fewshot_as_multiturn,
            confirm_run_unsafe_code=suite.allow_code_execution,
        )
    with _naming(name):
        result = task_result(name, task, loaded, results)
    result = meter.told(result)
    write_whole(samples_file(folder, name), "".join(sample_lines(results["samples"])))
    _write_result(folder, result)


def _seed_everything(tasks: Mapping[str, Task], seed: int) -> None:
    """Before each task, so that its result does not depend on which tasks ran before it."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    for task in tasks.values():
        task.set_fewshot_seed(seed)


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise EvaluationError(f"evaluate.tasks.{name}: {error}") from error


def _write_result(folder: Path, result: TaskResult) -> None:
    write_whole(result_file(folder, result.name), json.dumps(result.to_json(), indent=1, allow_nan=False) + "\n")


def result_file(folder: Path, name: str) -> Path:
    """Where an evaluation keeps the result of a task."""
    return folder / "tasks" / f"{name}.json"


def samples_file(folder: Path, name: str) -> Path:
    """Where it keeps the task's documents, with what the model said."""
    return folder / "samples" / f"{name}.jsonl"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
