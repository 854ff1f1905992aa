"""The stages of signals that a training gives: the warm-up of LESS and its gradients, the trajectories of S2L."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from siftune.runs.artifacts import Artifact, Stage
from siftune.runs.distributed import is_main_process
from siftune.runs.workspace import StoredPool, Workspace
from siftune.selection.features.training.gradients import GradientJob, LessGradients
from siftune.selection.features.training.trajectories import S2LTrajectories


def warmup(workspace: Workspace, pool: StoredPool, config: LessGradients) -> Artifact:
    """Adapters after each epoch of a short training on a random part of the pool, with Adam's moments."""
    from siftune.selection.features.training.warmup import train

    base = workspace.model(config.model)

    def build(folder: Path) -> Mapping[str, Any]:
        share, count = config.warmup_fraction, config.checkpoints
        return train(pool.pool, base.reference, config.warmup, folder, fraction=share, count=count, seed=config.seed)

    return workspace.ensure(
        Stage(
            kind="warmup",
            name=f"{pool.artifact.record['name']}-{config.name}",
            config={"fraction": config.warmup_fraction, "training": config.warmup, "seed": config.seed},
            inputs={"pool": pool.fingerprint, "model": base.fingerprint},
            build=build,
            cost=partial(
                workspace.estimates.drawn_checkpoint,
                pool,
                base,
                config.warmup,
                config.warmup_fraction,
                config.checkpoints,
            ),
        ),
        collective=True,
    )


def row_gradients(
    workspace: Workspace, pool: StoredPool, config: LessGradients, warm: Artifact, number: int, *, queries: bool
) -> Artifact:
    """One vector a row at checkpoint `number` of a warm-up: array gradients, and reasons.jsonl for rows with none."""
    from siftune.selection.features.mapping import is_intact
    from siftune.selection.features.training.gradients import gradients

    base = workspace.model(config.model)
    identity = {
        "checkpoint": number,
        "preconditioner": None if queries else config.preconditioner,
        "projection": config.projection,
        "dimension": config.dimension,
        "seed": config.seed,
        "max_length": config.max_length,
    }

    def build(folder: Path) -> Mapping[str, Any]:
        from siftune.selection.features.training.warmup import checkpoint_reference

        reference = checkpoint_reference(base.reference, warm.folder, config.checkpoints, number)
        job = GradientJob(
            reference=reference,
            preconditioner=None if queries else config.preconditioner,
            projection=config.projection,
            dimension=config.dimension,
            seed=config.seed,
            max_length=config.max_length,
            tokens_per_batch=config.tokens_per_batch,
        )
        what = f"gradients, checkpoint {number + 1} of {config.checkpoints}"
        with workspace.console.progress(what, total=len(pool.pool)) as bar:
            return dataclasses.asdict(gradients(pool.pool, job, folder, bar.advance, workspace.runtime))

    return workspace.ensure(
        Stage(
            kind="gradients",
            name=f"{pool.artifact.record['name']}-{config.name}-{number + 1}",
            config=identity,
            inputs={"pool": pool.fingerprint, "warmup": warm.fingerprint},
            build=build,
            intact=partial(is_intact, rows=len(pool.pool)),
            cost=partial(workspace.estimates.gradients, pool, base, config.warmup, config),
        ),
        collective=workspace.runtime.collective,
    )


def loss_trajectories(workspace: Workspace, pool: StoredPool, config: S2LTrajectories) -> Artifact:
    """The loss of every row at each checkpoint of a small model: array trajectories, and reasons.jsonl."""
    from siftune.selection.features.training.trajectory_losses import TRAINING, trained, trajectories

    base = workspace.model(config.model)

    def build(folder: Path) -> Mapping[str, Any]:
        if not is_main_process():
            return trained(pool.pool, config, base.reference, folder / TRAINING)
        total = config.checkpoints * len(pool.pool)
        with workspace.console.progress("losses of all checkpoints", total=total) as bar:
            found = trajectories(pool.pool, config, base.reference, folder, bar.advance, workspace.solo_runtime)
        return dataclasses.asdict(found)

    return workspace.ensure(
        Stage(
            kind="trajectories",
            name=f"{pool.artifact.record['name']}-{config.name}",
            config=config,
            inputs={"pool": pool.fingerprint, "model": base.fingerprint},
            build=build,
            cost=partial(workspace.estimates.trajectories, pool, base, config),
        ),
        collective=True,
    )
