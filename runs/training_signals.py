"""Signals of a training: gradients and trajectories, given as files or computed, and the rows that have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from siftune.runs.artifacts import Artifact
from siftune.runs.build import ConfigError
from siftune.runs.config import SignalsConfig
from siftune.runs.training_stages import loss_trajectories, row_gradients, warmup
from siftune.runs.workspace import StoredPool, Workspace, array
from siftune.selection.features.arrays import GivenArrays
from siftune.selection.features.scorers.scoring import REASONS_FILE
from siftune.selection.features.training.gradients import LessGradients

_NAMED = 3


class TrainingSignals:
    """Finds them, the files first; notes the fingerprints of what they were made from."""

    def __init__(
        self, workspace: Workspace, config: SignalsConfig, pool: StoredPool, given: GivenArrays, inputs: dict[str, str]
    ) -> None:
        self._workspace = workspace
        self._config = config
        self._pool = pool
        self._given = given
        self._inputs = inputs
        self._reasons: dict[str, Path] = {}

    def gradients(self) -> list[tuple[float, np.ndarray]]:
        """One (learning rate, (n, p)) a checkpoint, NaN in rows without a gradient."""
        if "arrays.gradients" in self._given:
            files = self._config.arrays.gradients
            return [(file.learning_rate, self._given.rows(f"arrays.gradients.{i}")) for i, file in enumerate(files)]
        config = self._gradients_config()
        warm = warmup(self._workspace, self._pool, config)
        found = self._checkpoints(self._pool, config, warm, queries=False)
        for number, artifact in enumerate(found):
            self._inputs[f"gradients/{number}"] = artifact.fingerprint
        self._reasons["gradients"] = found[0].folder / REASONS_FILE
        rates = array(warm, "learning_rates")
        return [(float(rate), array(artifact, "gradients")) for rate, artifact in zip(rates, found, strict=True)]

    def query_gradients(self) -> dict[str, list[np.ndarray]]:
        """Target task -> one (m, p) a checkpoint; ConfigError for a query without a gradient."""
        given = self._config.arrays.query_gradients
        if given:
            return {
                task: [self._given.free(f"arrays.query_gradients.{task}.{number}") for number in range(len(files))]
                for task, files in given.items()
            }
        config = self._gradients_config()
        warm = warmup(self._workspace, self._pool, config)
        pools = {task: self._workspace.pool(source) for task, source in self._config.target.tasks.items()}
        found = {task: self._checkpoints(queries, config, warm, queries=True) for task, queries in pools.items()}
        for task, artifacts in found.items():
            for number, artifact in enumerate(artifacts):
                self._inputs[f"query_gradients/{task}/{number}"] = artifact.fingerprint
        for task, artifacts in found.items():
            self._require_all(task, pools[task], artifacts[0])
        return {task: [array(artifact, "gradients") for artifact in artifacts] for task, artifacts in found.items()}

    def trajectories(self) -> np.ndarray:
        """(n, checkpoints) losses, NaN in rows without a response."""
        if "arrays.trajectories" in self._given:
            return self._given.rows("arrays.trajectories")
        config = self._config.trajectories
        if config is None:
            raise ConfigError(f"selection={self._config.name} reads trajectories: add trajectories=s2l")
        found = loss_trajectories(self._workspace, self._pool, config)
        self._inputs["trajectories"] = found.fingerprint
        self._reasons["trajectories"] = found.folder / REASONS_FILE
        return array(found, "trajectories")

    def with_values(self, signal: str, values: np.ndarray, candidates: np.ndarray | None) -> np.ndarray | None:
        """The candidates whose (n, d) values are no NaN; ConfigError with others' ids, unless they may be left out.

        A row has all of its values or none.
        """
        rows = np.arange(len(self._pool.pool)) if candidates is None else candidates
        lacks = np.isnan(values[:, 0])[rows]
        if signal not in self._reasons or not lacks.any():
            return candidates
        if self._config.on_missing_score == "error":
            ids = ", ".join(self._pool.pool.ids[rows[lacks][:_NAMED]].tolist())
            raise ConfigError(
                f"{int(lacks.sum()):,} of {len(self._pool.pool):,} rows have no {signal} (ids {ids} ...; why is in "
                f"{self._reasons[signal]}): add on_missing_score=exclude to leave them out"
            )
        self._workspace.console.say(f"  {int(lacks.sum()):,} rows without {signal} are left out")
        return rows[~lacks]

    def _checkpoints(self, pool: StoredPool, config: LessGradients, warm: Artifact, *, queries: bool) -> list[Artifact]:
        count = config.checkpoints
        return [row_gradients(self._workspace, pool, config, warm, number, queries=queries) for number in range(count)]

    def _gradients_config(self) -> LessGradients:
        if self._config.gradients is None:
            raise ConfigError(f"selection={self._config.name} reads gradients: add gradients=less")
        return self._config.gradients

    def _require_all(self, task: str, queries: StoredPool, artifact: Artifact) -> None:
        without = queries.pool.ids[np.isnan(array(artifact, "gradients")[:, 0])]
        if len(without):
            raise ConfigError(
                f"{len(without):,} query rows of the target {task!r} have no gradient: take them out (ids "
                f"{', '.join(without[:_NAMED].tolist())} ...; why is in {artifact.folder / REASONS_FILE})"
            )
