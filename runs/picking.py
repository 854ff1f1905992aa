"""The selection stage: signals in, a subset with its card out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from siftune.runs.artifacts import Artifact, Stage
from siftune.runs.config import SignalsConfig
from siftune.runs.cost import Cost
from siftune.runs.fingerprint import plain
from siftune.runs.needs import HasLabelGraph
from siftune.runs.pending import PendingArtifact
from siftune.runs.pool_steps import prepared_pool
from siftune.runs.signals import Signals
from siftune.runs.workspace import StoredPool, Workspace
from siftune.selection.features.label_graph import draw_label_graph, save_label_graph
from siftune.selection.interface import Budget, Features, Selection
from siftune.selection.pool.subset import read_indices, write_subset
from siftune.selection.pool.subset_card import SubsetCard


@dataclasses.dataclass(frozen=True)
class Subset:
    """The picks of a selection, written as a data set."""

    artifact: Artifact
    pool: StoredPool
    targets: np.ndarray | None
    """(n,) bool, the pool's rows of a target task, as far as its `match` column tells."""
    candidates: np.ndarray | None
    """(c,) int64 rows that could be picked; None: all."""
    refinement: Artifact | None = None
    """The report of the rounds in which it was picked, where it was picked in rounds."""

    @cached_property
    def indices(self) -> np.ndarray:
        """(k,) int64 rows of the pool, in the order picked."""
        return read_indices(self.artifact.folder)

    def expected(self, budget: Budget) -> tuple[np.ndarray, float | None]:
        """The picks, and None; before they are made, rows that stand for them, and the tokens that they will have.

        The stand-ins are spread evenly over the rows that can be picked.
        """
        if not isinstance(self.artifact, PendingArtifact):
            return self.indices, None
        rows = np.arange(len(self.pool.pool)) if self.candidates is None else self.candidates
        if budget.unit == "tokens":
            return rows, budget.amount
        return rows[np.linspace(0, len(rows) - 1, budget.count(len(rows))).round().astype(np.int64)], None

    @property
    def target_share(self) -> float | None:
        """Share of the picks that are rows of a target task."""
        return None if self.targets is None else float(self.targets[self.indices].mean())

    @property
    def summary(self) -> dict[str, Any]:
        """What there is to say of the picks."""
        return {**self.artifact.summary, "target_share": self.target_share}


def select(config: SignalsConfig, workspace: Workspace) -> Subset:
    """Read the pool, compute the signals that the method requires, pick, and write the subset with its card."""
    pool = prepared_pool(config, workspace)
    targets = target_rows(config, pool)
    signals = Signals(workspace, config, pool)
    signals.collect()

    def build(folder: Path) -> Mapping[str, Any]:
        assert config.selection is not None
        features = signals.features()
        with workspace.console.kernels(), workspace.runtime.spread():
            picks = config.selection.select(features, config.budget, np.random.default_rng(config.seed))
        _write_label_graph(folder, config, features, signals.tag_names)
        tokens = None if features.num_tokens is None else int(features.num_tokens[picks.indices].sum())
        return write_picks(folder, pool, _in_pool(picks, signals.candidates), card_of(config, pool, tokens))

    identity = {"selection": config.selection, "budget": config.budget, "seed": config.seed}
    stage = Stage(
        kind="subset",
        name=config.name,
        config=identity,
        inputs=signals.inputs,
        build=build,
        cost=partial(Cost, rows=len(pool.pool)),
    )
    return Subset(workspace.ensure(stage), pool, targets, signals.candidates)


def _in_pool(picks: Selection, candidates: np.ndarray | None) -> Selection:
    """Picks among the candidates as picks of the pool."""
    return picks if candidates is None else dataclasses.replace(picks, indices=candidates[picks.indices])


def _write_label_graph(folder: Path, config: SignalsConfig, features: Features, names: list[str]) -> None:
    """Save and draw the label graph that a method picked by, where it has one."""
    if not isinstance(config.selection, HasLabelGraph):
        return
    graph, occur = config.selection.label_graph(features)
    assert features.tags is not None
    names = [names[tag] for tag in occur]
    rows_of_tag = np.asarray(features.tags.sum(axis=0))[occur]
    save_label_graph(folder / "label_graph.safetensors", graph, names)
    draw_label_graph(graph, names, folder / "label_graph.png", rows_of_tag)


def write_picks(folder: Path, pool: StoredPool, picks: Selection, card: SubsetCard) -> Mapping[str, Any]:
    """The picks as a data set with its card; the summary of a subset."""
    write_subset(folder, pool.pool, picks, card)
    return {
        "method": card.method,
        "rows": len(picks.indices),
        "tokens": card.tokens,
        "pool_rows": len(pool.pool),
        "sources_pool": mixture(pool.pool.sources),
        "sources_subset": mixture(pool.pool.sources[picks.indices]),
    }


def card_of(config: SignalsConfig, pool: StoredPool, tokens: int | None) -> SubsetCard:
    """What the subset's card says of the selection."""
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


def target_rows(config: SignalsConfig, pool: StoredPool) -> np.ndarray | None:
    """(n,) bool, the rows whose `match` column names a target task; None where there is no target, or no such row."""
    if not config.target.tasks:
        return None
    is_target = np.isin(pool.pool.column(config.target.match).astype(str), list(config.target.tasks))
    return is_target if is_target.any() else None
