"""The stage that measures a model on a suite."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from siftune.evaluate.backends.config import Backend, ChatEndpoint
from siftune.evaluate.harness import evaluate_suite
from siftune.evaluate.suite import Suite
from siftune.evaluate.tasks import ExactMatch, ResponseLoss
from siftune.finetune.model_sources import ModelRef
from siftune.runs.artifacts import Stage
from siftune.runs.cost import Cost
from siftune.runs.metering import Measured, Meter
from siftune.runs.reply_stages import trained_model
from siftune.runs.task_results import VERSION, TaskResults
from siftune.runs.workspace import StoredModel, StoredPool, Workspace
from siftune.selection.features.endpoint.endpoint import Endpoint

EVALUATION_SEED = 1234
"""lm-eval's own default. Not the experiment's seed: every model answers the same few-shot prompts, and the base model,
which no seed changes, is evaluated once."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A suite, and the model that is measured on it."""

    suite: Suite
    backend: Backend
    base: StoredModel
    checkpoint: Stage | None
    """The training of the model; None: the base model itself."""
    workspace: Workspace

    def stage(self, name: str) -> Stage:
        """The measuring, as an artifact."""
        remote = isinstance(self.backend, Endpoint)
        return Stage(
            kind="evaluation",
            name=name,
            version=VERSION,
            config=self.suite,
            inputs={**self._model(), **self.suite.inputs()},
            build=self._build,
            endpoints=(self.backend,) if isinstance(self.backend, Endpoint) else (),
            # What an endpoint's model computes is not known here.
            cost=Cost if remote else self._cost,
            spent=(lambda summary: Cost()) if remote else partial(self.workspace.estimates.evaluated, self.base),
        )

    def _model(self) -> dict[str, str]:
        """What is measured, and who runs it."""
        if isinstance(self.backend, ChatEndpoint):
            # Nothing of the config's model is used.
            return self.backend.inputs()
        trained = {} if self.checkpoint is None else {"checkpoint": self.checkpoint.fingerprint}
        return {"model": self.base.fingerprint, **trained, **self.backend.inputs()}

    def _build(self, folder: Path) -> Mapping[str, Any]:
        known, say = TaskResults(self.workspace.store.root, self.suite, self._model()), self.workspace.console.say
        if taken := known.take(folder):
            say(f"  evaluated before: {', '.join(taken)}")
            Meter.add(Measured(seconds=sum(taken.values())))
        started: dict[str, float] = {}

        def on_task(task: str) -> None:
            say(f"  evaluating {task}")
            started[task.partition(":")[0]] = time.monotonic()

        try:
            return evaluate_suite(
                self._reference(),
                self.suite,
                folder,
                seed=EVALUATION_SEED,
                pools=lambda source: self.workspace.pool(source).pool,
                backend=self.backend,
                on_task=on_task,
                verdicts=self.workspace.store.root / "verdicts",
            ).to_json()
        finally:
            ends = [*list(started.values())[1:], time.monotonic()]
            known.keep(folder, {name: end - begin for (name, begin), end in zip(started.items(), ends, strict=False)})

    def _reference(self) -> ModelRef:
        if self.checkpoint is None:
            return self.base.reference
        return trained_model(self.workspace, self.base, self.checkpoint).reference(None)

    def _cost(self) -> Cost:
        """Of the tasks that were not evaluated before."""
        missing = TaskResults(self.workspace.store.root, self.suite, self._model()).missing()
        if not missing:
            return Cost()
        left = dataclasses.replace(self.suite, tasks={name: self.suite.tasks[name] for name in missing}, headline=())
        return self.workspace.estimates.evaluation(left, suite_pools(left, self.workspace), self.base)


def suite_pools(suite: Suite, workspace: Workspace) -> dict[str, StoredPool]:
    """Task -> its rows, of the tasks on conversations."""
    data = {name: task.data for name, task in suite.tasks.items() if isinstance(task, (ResponseLoss, ExactMatch))}
    return {name: workspace.pool(source) for name, source in data.items()}
