"""The selection stage: signals in, a subset with its card out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from siftune.runs.artifacts import Artifact, Stage
from siftune.runs.config import SignalsConfig
from siftune.runs.fingerprint import plain
from siftune.runs.signals import Signals
from siftune.runs.workspace import StoredPool, Workspace
from siftune.selection.interface import Features, Selection
from siftune.selection.pool.subset import read_indices, write_subset
from siftune.selection.pool.subset_card import SubsetCard


@dataclasses.dataclass(frozen=True)
class Subset:
    """The picks of a selection, written as a data set."""

    artifact: Artifact
    pool: StoredPool
    indices: np.ndarray
    """(k,) int64 rows of the pool, in the order picked."""
    target_share: float | None
    """Share of the picks that are rows of a target task, as far as the pool's `match` column tells."""

    @property
    def summary(self) -> dict[str, Any]:
        """What there is to say of the picks."""
        return {**self.artifact.summary, "target_share": self.target_share}


def select(config: SignalsConfig, workspace: Workspace) -> Subset:
    """Read the pool, compute the signals that the method requires, pick, and write the subset with its card."""
    pool = workspace.pool(config.pool)
    targets = _target_rows(config, pool)
    signals = Signals(workspace, config, pool)
    features = signals.collect()

    def build(folder: Path) -> Mapping[str, Any]:
        assert config.selection is not None
        picks = config.selection.select(features, config.budget, np.random.default_rng(config.seed))
        return _write(folder, config, pool, features, picks)

    identity = {"selection": config.selection, "budget": config.budget, "seed": config.seed}
    stage = Stage(kind="subset", name=config.name, config=identity, inputs=signals.inputs, build=build)
    artifact = workspace.ensure(stage)
    indices = read_indices(artifact.folder)
    return Subset(artifact, pool, indices, None if targets is None else float(targets[indices].mean()))


def _write(
    folder: Path,
    config: SignalsConfig,
    pool: StoredPool,
    features: Features,
    picks: Selection,
) -> Mapping[str, Any]:
    tokens = None if features.num_tokens is None else int(features.num_tokens[picks.indices].sum())
    summary = {
        "method": type(config.selection).__name__,
        "rows": len(picks.indices),
        "tokens": tokens,
        "pool_rows": len(pool.pool),
        "sources_pool": mixture(pool.pool.sources),
        "sources_subset": mixture(pool.pool.sources[picks.indices]),
    }
    write_subset(folder, pool.pool, picks, _card(config, pool, tokens))
    return summary


def _card(config: SignalsConfig, pool: StoredPool, tokens: int | None) -> SubsetCard:
    hyperparameters = plain(config.selection)
    return SubsetCard(
        pool=config.pool.name,
        pool_hash=pool.fingerprint,
        method=hyperparameters.pop("class"),
        hyperparameters=hyperparameters,
        budget=config.budget,
        seed=config.seed,
        tokens=tokens,
    )


def mixture(sources: np.ndarray) -> dict[str, int]:
    """Rows of each source, the largest first."""
    return {str(name): count for name, count in Counter(sources.tolist()).most_common()}


def _target_rows(config: SignalsConfig, pool: StoredPool) -> np.ndarray | None:
    """(n,) bool, the rows whose `match` column names a target task; None where there is no target, or no such row."""
    if not config.target.tasks:
        return None
    is_target = np.isin(pool.pool.column(config.target.match).astype(str), list(config.target.tasks))
    return is_target if is_target.any() else None
