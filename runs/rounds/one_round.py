"""One round of a refinement: the rows it draws, the model trained on them, and what its replies say of the clusters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from siftune.finetune.config import FinetuneConfig
from siftune.finetune.model_sources import TrainedModel
from siftune.runs.artifacts import Artifact, Stage
from siftune.runs.config import ExperimentConfig
from siftune.runs.cost import Cost
from siftune.runs.pending import PendingArtifact
from siftune.runs.reply_stages import trained, trained_model
from siftune.runs.workspace import StoredModel, StoredPool, Workspace
from siftune.selection.features.scorers.scoring import REASONS_FILE
from siftune.selection.interface import Selection
from siftune.selection.pool.rows import Row
from siftune.selection.pool.rows_file import RowWriter
from siftune.selection.pool.store import ROWS_FILE, Pool


@dataclass(frozen=True)
class Round:
    """A round whose rows are drawn."""

    number: int
    """From 1."""
    artifact: Artifact
    """Arrays indices (k,) int64 pool rows in the order drawn, gains (k,), taken (all so far, in order) and gains_taken;
    by clusters weights (K,)."""
    rows: StoredPool
    """The drawn rows alone. In a plan, rows that stand for them."""
    stand_ins: np.ndarray | None
    """(t,) in a plan, pool rows that stand for those taken so far."""

    @property
    def taken(self) -> np.ndarray:
        """(t,) int64 pool rows of all rounds so far, in the order picked."""
        return self.artifact.array("taken")

    @property
    def picks(self) -> Selection:
        """All rounds so far as one selection."""
        return Selection(np.array(self.taken), np.array(self.artifact.array("gains_taken")))


@dataclass(frozen=True)
class Rounds:
    """What the rounds of one experiment have in common."""

    config: ExperimentConfig
    workspace: Workspace
    pool: StoredPool
    base: StoredModel
    candidates: np.ndarray | None
    """(c,) int64 ascending pool rows that can be picked; None: all."""

    @property
    def selectable(self) -> np.ndarray:
        """(c,) int64 ascending pool rows that can be picked."""
        return np.arange(len(self.pool.pool)) if self.candidates is None else self.candidates

    def draw(
        self,
        number: int,
        amount: int,
        before: Round | None,
        identity: Mapping[str, Any],
        inputs: Mapping[str, str],
        pick: Callable[[np.ndarray, np.random.Generator], tuple[Selection, Mapping[str, np.ndarray]]],
    ) -> Round:
        """The round that `pick` draws, given the pool rows taken before and random numbers of its own; the arrays that
        come with its picks are kept beside them."""

        def build(folder: Path) -> Mapping[str, Any]:
            earlier = _none() if before is None else before.picks
            rng = np.random.default_rng([self.config.seed, number])
            with self.workspace.console.kernels(), self.workspace.runtime.spread():
                picks, arrays = pick(earlier.indices, rng)
            _write(folder, self.pool.pool, earlier, picks, arrays)
            return {"rows": len(picks.indices), "round": number, "taken": len(earlier.indices) + len(picks.indices)}

        follows = {} if before is None else {"before": before.artifact.fingerprint}
        stage = Stage(
            kind="round",
            name=f"{self.pool.artifact.record['name']}-round{number}",
            config={"number": number, "amount": amount, "seed": self.config.seed, **identity},
            inputs={"pool": self.pool.fingerprint, **inputs, **follows},
            build=build,
            cost=partial(Cost, rows=amount),
        )
        artifact = self.workspace.ensure(stage)
        if not isinstance(artifact, PendingArtifact):
            return Round(number, artifact, StoredPool(Pool.open(artifact.folder), artifact), None)
        earlier = 0 if before is None else len(before.stand_ins if before.stand_ins is not None else before.taken)
        stand_ins = _spread(self.selectable, earlier + amount)
        return Round(number, artifact, StoredPool(self.pool.pool.part(stand_ins[-amount:]), artifact), stand_ins)

    def train(
        self,
        drawn: Round,
        start: TrainedModel | None,
        training: FinetuneConfig,
        *,
        continued: bool,
        whole: str | None = None,
    ) -> TrainedModel:
        """The round's model: of all rows taken so far, or of the drawn ones where the training goes on from `start`.

        After the last round `whole` is the fingerprint of the subset: the model may then be that of the run.
        """
        subset = drawn.artifact.fingerprint if whole is None else whole
        name = f"{self.config.model.name}-{self.config.name if whole else f'round{drawn.number}'}"

        def rows() -> Sequence[Row]:
            return list(self.pool.pool.rows(drawn.artifact.array("indices" if continued else "taken").tolist()))

        def cost() -> Cost:
            taken = drawn.taken if drawn.stand_ins is None else drawn.stand_ins
            if continued:
                taken = taken[-len(drawn.rows.pool) :]
            return self.workspace.estimates.checkpoint(self.pool, taken, self.base, training)

        stage = trained(
            self.base,
            rows=rows,
            subset_fingerprint=subset,
            training=training,
            seed=self.config.seed,
            name=name,
            start=start if continued else None,
            cost=cost,
            spent=partial(self.workspace.estimates.trained, self.base, training),
        )
        self.workspace.ensure(stage, collective=True)
        return trained_model(self.workspace, self.base, stage)


def reasons(artifact: Artifact) -> dict[str, str]:
    """Row id -> why a stage has nothing for it."""
    lines = (artifact.folder / REASONS_FILE).read_text(encoding="utf-8").splitlines()
    return {entry["id"]: entry["why"] for entry in map(json.loads, lines)}


def _none() -> Selection:
    return Selection(np.empty(0, dtype=np.int64), np.empty(0))


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """`count` of the rows, spread evenly; a random order, so that each round's part is spread too."""
    chosen = rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]
    return np.random.default_rng(0).permutation(chosen)


def _write(folder: Path, pool: Pool, earlier: Selection, picks: Selection, arrays: Mapping[str, np.ndarray]) -> None:
    partial_rows = folder / f"{ROWS_FILE}.partial"
    with RowWriter(partial_rows) as writer:
        for row in pool.rows(picks.indices.tolist()):
            writer.write(row)
    partial_rows.replace(folder / ROWS_FILE)
    own = {
        "indices": picks.indices,
        "gains": picks.gains,
        "taken": np.concatenate([earlier.indices, picks.indices]),
        "gains_taken": np.concatenate([earlier.gains, picks.gains]),
    }
    for name, values in (own | dict(arrays)).items():
        np.save(folder / f"{name}.npy", values)
