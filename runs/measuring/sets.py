"""Which sets of rows `siftune measure` measures: the pool, subsets that are named, the subsets of recorded runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siftune.runs.artifacts import Artifact, read_record
from siftune.runs.measuring.config import MeasureConfig
from siftune.runs.report import ReportConfig, ReportError, RunRecord, load_runs
from siftune.runs.workspace import StoredPool, Workspace
from siftune.selection.features.restriction import read_rows
from siftune.selection.pool.store import ROWS_FILE, Pool
from siftune.selection.pool.subset import SUBSET_FILE, read_indices


@dataclass(frozen=True)
class NamedSet:
    """Rows of a pool under a name."""

    name: str
    rows: np.ndarray
    """(k,) int64, a row as often as the set has it."""


def sets_of(config: MeasureConfig, workspace: Workspace) -> tuple[StoredPool, list[NamedSet]]:
    """The pool, and the sets of its rows that the config asks for, in its order; runs come last."""
    runs = [] if config.runs is None else recorded_picks(config.store, config.runs)
    pool = pool_of(runs, config.store) if runs else workspace.pool(config.pool)
    sets = [NamedSet(name, read_rows(path, pool.pool, f"subsets.{name}")) for name, path in config.subsets.items()]
    sets += recorded_sets(runs, config.store)
    return pool, sets or [NamedSet(pool.artifact.record["name"], np.arange(len(pool.pool)))]


def recorded_picks(store: Path, group: str) -> list[RunRecord]:
    """The runs of a group that picked a subset, smaller budgets first; ReportError where there is none."""
    runs = [run for run in load_runs(ReportConfig(store=store, group=group)) if run.selection is not None]
    if not runs:
        raise ReportError(f"no run of the group {group} in {store} picked a subset: there is nothing to measure")
    return sorted(runs, key=lambda run: (run.config["budget"]["amount"], run.label, run.seed))


def pool_of(runs: Sequence[RunRecord], store: Path) -> StoredPool:
    """The pool that all of these runs picked from; ReportError where there are several, or it is gone."""
    pools = {run.pool_fingerprint: run.pool for run in runs}
    if len(pools) > 1:
        named = ", ".join(f"{name} ({str(fingerprint)[:8]})" for fingerprint, name in pools.items())
        raise ReportError(
            f"runs={runs[0].group}: its runs picked from {len(pools)} pools, {named}: subsets of different pools are "
            "not measured together; give the runs of each pool a group of their own"
        )
    folder = _folder(store, "pool", str(next(iter(pools))), ROWS_FILE, runs[0])
    return StoredPool(Pool.open(folder), Artifact(folder, read_record(folder) or {}, cached=True))


def recorded_sets(runs: Sequence[RunRecord], store: Path) -> list[NamedSet]:
    """The subset of each of these runs, one that several share under the name of the first."""
    found: dict[str, RunRecord] = {}
    for run in runs:
        record = read_record(run.folder) or {}
        found.setdefault(record["inputs"]["subset"], run)
    names = _names(found)
    return [
        NamedSet(names[subset], read_indices(_folder(store, "subset", subset, SUBSET_FILE, run)))
        for subset, run in found.items()
    ]


def _names(runs: Mapping[str, RunRecord]) -> dict[str, str]:
    """The label of each run, with as much of what else tells them apart as it takes."""
    parts: list[Callable[[RunRecord], str]] = [lambda run: run.label]
    if len({run.budget for run in runs.values()}) > 1:
        parts.append(lambda run: run.budget.split(" ")[0])
    if len({run.seed for run in runs.values()}) > 1:
        parts.append(lambda run: f"seed {run.seed}")
    names = {subset: " ".join(part(run) for part in parts) for subset, run in runs.items()}
    shared = {name for name, count in Counter(names.values()).items() if count > 1}
    return {subset: f"{name} {subset[:6]}" if name in shared else name for subset, name in names.items()}


def _folder(store: Path, kind: str, fingerprint: str, file: str, run: RunRecord) -> Path:
    """Where the artifact of this fingerprint lies."""
    found = [path.parent for path in (store / kind).glob(f"*-{fingerprint}/{file}")]
    if not found:
        raise ReportError(
            f"the {kind} of the run {run.label}, seed {run.seed} is not in {store} any more ({kind}/*-{fingerprint}): "
            "make it again with `siftune select` and the settings of the run"
        )
    return found[0]
