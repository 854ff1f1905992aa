"""The points of a study: subsets, and the results of the models that were fine-tuned on them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from siftune.runs.artifacts import Artifact, read_record
from siftune.runs.reporting.records import ReportError, RunRecord, read_run
from siftune.runs.reporting.variants import IRRELEVANT
from siftune.runs.studies.statistics import LEAST
from siftune.runs.workspace import StoredPool
from siftune.selection.pool.store import Pool
from siftune.selection.pool.subset import read_indices


@dataclass(frozen=True, kw_only=True)
class StudiedSubset:
    """Rows of the pool, and the runs that trained on them."""

    indices: np.ndarray
    """(k,) int64 rows of the pool, in the order picked."""
    runs: tuple[RunRecord, ...]
    """More than one where another training seed, or another method, had the same rows: their results are averaged."""

    @property
    def label(self) -> str:
        """The method that picked it; of several that picked the same rows, the first in the alphabet."""
        return self.runs[0].label

    @property
    def methods(self) -> str:
        """All methods that picked it."""
        return ", ".join(dict.fromkeys(run.label for run in self.runs))

    @property
    def budget(self) -> str:
        """Its size, as it was asked for."""
        return self.runs[0].budget

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its runs."""
        return tuple(dict.fromkeys(run.seed for run in self.runs))

    def result(self, task: str) -> float:
        """The benchmark's value, averaged over the runs."""
        return fmean(run.scores[task].value for run in self.runs)


def read_runs(folders: Sequence[Path]) -> list[RunRecord]:
    """The records of a sweep's runs, each once, without the untrained model's; ReportError where they differ in more
    than the subset."""
    runs = [run for run in map(read_run, dict.fromkeys(folders)) if not run.is_base]
    if len(runs) < LEAST:
        raise ReportError(
            f"there are {len(runs)} runs that picked a subset, and a study needs {LEAST} at the least: sweep over "
            "selection, budget.amount or seed"
        )
    for what, values in _shared(runs).items():
        if len(set(values)) > 1:
            raise ReportError(
                f"the runs differ in their {what}: a study relates results to the subset, so the subset alone may "
                f"differ (first in {runs[_first_other(values)].folder})"
            )
    return runs


def subsets_of(runs: Sequence[RunRecord], store: Path) -> list[StudiedSubset]:
    """The subsets that these runs trained on, smallest first, then by method and seed."""
    found: dict[tuple[str, bytes], StudiedSubset] = {}
    for run in sorted(runs, key=lambda run: (run.label, run.seed)):
        indices = read_indices(artifact_of(run, "subset", store).folder)
        key = (run.budget, np.sort(indices).tobytes())
        known = found[key].runs if key in found else ()
        found[key] = StudiedSubset(indices=found[key].indices if known else indices, runs=(*known, run))
    return sorted(found.values(), key=lambda subset: (len(subset.indices), subset.budget))


def pool_of(run: RunRecord, store: Path) -> StoredPool:
    """The pool that a run picked from."""
    artifact = artifact_of(run, "pool", store)
    return StoredPool(Pool.open(artifact.folder), artifact)


def artifact_of(run: RunRecord, kind: str, store: Path) -> Artifact:
    """What a run used; ReportError where the store does not have it any more."""
    inputs: Mapping[str, str] = (read_record(run.folder) or {})["inputs"]
    for folder in sorted((store / kind).glob(f"*-{inputs[kind]}")):
        record = read_record(folder)
        if record is not None:
            return Artifact(folder, record, cached=True)
    raise ReportError(
        f"the {kind} {inputs[kind]} of {run.folder} is not in the store {store} any more: delete that run's folder and "
        "start the study again"
    )


def _shared(runs: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """What must be the same in all runs -> each run's."""
    return {
        "pool": [run.pool_fingerprint for run in runs],
        "model": [run.model for run in runs],
        "benchmarks (evaluate)": [run.measured for run in runs],
        "training (finetune)": [_training(run) for run in runs],
    }


def _training(run: RunRecord) -> str:
    settings = {key: value for key, value in run.config["finetune"].items() if key not in IRRELEVANT}
    return json.dumps(settings, sort_keys=True)


def _first_other(values: Sequence[Any]) -> int:
    return next(place for place, value in enumerate(values) if value != values[0])
