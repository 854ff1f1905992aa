"""Selecting while training: rows are picked in rounds, each by what a model trained on the rounds before shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from siftune.runs.artifacts import Stage
from siftune.runs.config import ExperimentConfig
from siftune.runs.cost import Cost
from siftune.runs.fingerprint import plain
from siftune.runs.picking import Subset, card_of, target_rows, write_picks
from siftune.runs.rounds.config import ClusterRefinement
from siftune.runs.rounds.evolving import EvolvingLoop
from siftune.runs.rounds.files import write_refinement
from siftune.runs.rounds.loop import ClusterLoop
from siftune.runs.rounds.one_round import Round, Rounds
from siftune.runs.workspace import Workspace


def refine(config: ExperimentConfig, workspace: Workspace) -> Subset:
    """Pick the subset in rounds; what remains to do is what remains after `select`."""
    loop = (
        ClusterLoop.begin(config, config.refinement, workspace)
        if isinstance(config.refinement, ClusterRefinement)
        else EvolvingLoop.begin(config, workspace)
    )
    rounds = loop.rounds
    subset = _subset(rounds, loop.go_round())
    loop.finish(subset.artifact.fingerprint)
    return dataclasses.replace(subset, refinement=workspace.ensure(_report_stage(loop, subset)))


def _subset(rounds: Rounds, last: Round) -> Subset:
    """All rounds' rows, in the order picked."""
    config, pool = rounds.config, rounds.pool

    def build(folder: Path) -> Mapping[str, Any]:
        card = card_of(config, pool, None)
        of_rounds = {f"refinement.{key}": value for key, value in plain(config.refinement).items()}
        card = dataclasses.replace(card, hyperparameters={**card.hyperparameters, **of_rounds})
        return write_picks(folder, pool, last.picks, card)

    stage = Stage(
        kind="subset",
        name=config.name,
        config={"rounds": last.number, "seed": config.seed},
        inputs={"pool": pool.fingerprint, "round": last.artifact.fingerprint},
        build=build,
        cost=partial(Cost, rows=len(pool.pool)),
    )
    return Subset(rounds.workspace.ensure(stage), pool, target_rows(config, pool), rounds.candidates)


def _report_stage(loop: ClusterLoop | EvolvingLoop, subset: Subset) -> Stage:
    """Tables and pictures of the rounds: nothing that counts is computed from them."""
    rounds = loop.rounds

    def build(folder: Path) -> Mapping[str, Any]:
        return write_refinement(folder, loop.report(), rounds.pool.pool, loop.embeddings(), loop.replies())

    return Stage(
        kind="refinement",
        name=rounds.config.name,
        config={"rounds": len(loop.passed)},
        inputs={"subset": subset.artifact.fingerprint, **loop.said()},
        build=build,
        cost=partial(Cost, rows=len(rounds.pool.pool)),
    )
