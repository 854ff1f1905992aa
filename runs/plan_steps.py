"""From a command's configs to its plan."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import torch

from siftune.runs.calibration import Calibration, calibrate
from siftune.runs.config import SignalsConfig
from siftune.runs.cost import Cost
from siftune.runs.history import recorded_seconds
from siftune.runs.plan import Basis, Plan, State, Step
from siftune.runs.planning import Passed, PlanningWorkspace, walk
from siftune.selection.features.endpoint.endpoint import Endpoint
from siftune.selection.features.mapping import SHARD_ROWS
from siftune.selection.features.shards import layout_of, marker_path


def make_plan(configs: Sequence[SignalsConfig]) -> Plan:
    """The plan of a command's cells, which share a store. Their pools are read; nothing else is computed."""
    store = configs[0].store.absolute()
    workspace, timing = PlanningWorkspace(store), Timing(store)
    for workspace.cell, config in enumerate(configs):
        walk(config, workspace)
    free, on_gpu = memory_free()
    return Plan(
        steps=tuple(_step(passed, timing) for passed in list(workspace.noted.values())),
        cells=tuple(f"{config.name}, seed {config.seed}" for config in configs),
        undecided=tuple(sorted(workspace.undecided)),
        store=store,
        disk_free=disk_free(store),
        memory_free=free,
        on_gpu=on_gpu,
    )


class Timing:
    """How long stages take on this machine."""

    def __init__(self, store: Path) -> None:
        self._store = store

    @cached_property
    def calibration(self) -> Calibration:
        """Measured where it is needed."""
        return calibrate(self._store)

    def of(self, passed: Passed, cost: Cost) -> tuple[float | None, Basis | None]:
        """Seconds for all of the stage, and where they come from; by records rather than by calibration."""
        seconds = recorded_seconds(passed.stage, cost.tokens, self._store)
        if seconds is not None:
            return seconds, "recorded"
        if cost.flops is None:
            return None, None
        return sum(self.calibration.seconds(work, flops) for work, flops in cost.flops.items()), "calibrated"


def disk_free(store: Path) -> int:
    """Bytes free where the store is or will be."""
    there = next(folder for folder in (store, *store.parents) if folder.exists())
    return shutil.disk_usage(there).free


def memory_free() -> tuple[int, bool]:
    """Bytes that models can have, and whether they are a GPU's: the memory of the smallest, or what is free here."""
    if torch.cuda.is_available():
        sizes = (torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count()))
        return min(sizes), True
    return psutil.virtual_memory().available, False


def _step(passed: Passed, timing: Timing) -> Step:
    stage, state = passed.stage, _state(passed)
    shards, seconds, basis = None, None, None
    if state in ("cached", "read now"):
        cost = _recorded_cost(passed)
    else:
        cost = stage.cost()
        shards = _shards(passed.folder, cost.rows) if state == "unfinished" else None
        seconds, basis = timing.of(passed, cost)
    if seconds is not None and shards is not None:
        seconds *= 1 - shards[0] / shards[1]
    return Step(
        kind=stage.kind,
        name=stage.name,
        fingerprint=None if passed.unsure else stage.fingerprint,
        folder=passed.folder,
        state=state,
        shards=shards,
        cost=cost,
        seconds=seconds,
        basis=basis,
        cells=tuple(passed.cells),
        endpoint=_endpoint(stage.config),
    )


def _endpoint(config: Any) -> Endpoint | None:
    """The endpoint of a scorer or an encoder; that of tags' embeddings stands in a mapping."""
    owner = config.get("encoder") if isinstance(config, Mapping) else config
    return getattr(owner, "endpoint", None)


def _state(passed: Passed) -> State:
    if passed.artifact is not None:
        return "cached" if passed.was_there else "read now"
    begun = not passed.unsure and passed.folder.is_dir() and any(passed.folder.iterdir())
    return "unfinished" if begun else "to do"


def _recorded_cost(passed: Passed) -> Cost:
    assert passed.artifact is not None
    summary = passed.artifact.summary
    return Cost(rows=summary.get("rows"), tokens=summary.get("tokens"))


def _shards(folder: Path, rows: int | None) -> tuple[int, int] | None:
    """Shards that are there, and all; None for a stage without shards. Their checksums are the run's to verify."""
    markers = marker_path(folder, 0).parent
    if rows is None or not markers.is_dir():
        return None
    layout = layout_of(folder)
    shard_rows = SHARD_ROWS if layout is None else layout[1]
    return len(list(markers.glob("*.json"))), -(-rows // shard_rows)
