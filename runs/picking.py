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
from siftune.runs.naming import snake_case
from siftune.runs.signals import Signals
from siftune.runs.workspace import StoredPool, Workspace
from siftune.selection.interface import Features, Selection
from siftune.selection.pool.subset import SubsetCard, read_indices, write_subset


@dataclasses.dataclass(frozen=True)
class Subset:
    """The picks of a selection, written as a data set."""

    artifact: Artifact
    pool: StoredPool
    indices: np.ndarray
    """(k,) int64 rows of the pool, in the order picked."""


def select(config: SignalsConfig, workspace: Workspace) -> Subset:
    """Read the pool, compute the signals that the method requires, pick, and write the subset with its card."""
    pool = workspace.pool(config.pool)
    signals = Signals(workspace, config, pool)
    features = signals.collect()

    def build(folder: Path) -> Mapping[str, Any]:
        assert config.selection is not None
        picks = config.selection.select(features, config.budget, np.random.default_rng(config.seed))
        return _write(folder, config, pool, features, picks)

    # What counts as a target row does not change the picks, but what is said of them.
    judged = {"targets": sorted(config.target.tasks), "match": config.target.match}
    identity = {"selection": config.selection, "budget": config.budget, "seed": config.seed, "judged": judged}
    stage = Stage(kind="subset", name=config.name, config=identity, inputs=signals.inputs, build=build)
    artifact = workspace.ensure(stage)
    return Subset(artifact, pool, read_indices(artifact.folder))


def _write(
    folder: Path, config: SignalsConfig, pool: StoredPool, features: Features, picks: Selection
) -> Mapping[str, Any]:
    tokens = None if features.num_tokens is None else int(features.num_tokens[picks.indices].sum())
    summary = {
        "method": type(config.selection).__name__,
        "rows": len(picks.indices),
        "tokens": tokens,
        "pool_rows": len(pool.pool),
        "target_share": _target_share(config, pool, picks.indices),
        "sources_pool": mixture(pool.pool.sources),
        "sources_subset": mixture(pool.pool.sources[picks.indices]),
    }
    write_subset(folder, pool.pool, picks, _card(config, pool, summary))
    return summary


def mixture(sources: np.ndarray) -> dict[str, int]:
    """Rows of each source, the largest first."""
    return {str(name): count for name, count in Counter(sources.tolist()).most_common()}


def _target_share(config: SignalsConfig, pool: StoredPool, indices: np.ndarray) -> float | None:
    """Share of the picks whose `match` column names a target task; None where no pool row does."""
    if not config.target.tasks:
        return None
    is_target = np.isin(pool.pool.column(config.target.match).astype(str), list(config.target.tasks))
    return float(is_target[indices].mean()) if is_target.any() else None
