"""From a command's configs to its plan."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import torch

from siftune.runs.config import SignalsConfig
from siftune.runs.cost import Cost
from siftune.runs.plan import Basis, Plan, State, Step
from siftune.runs.planning.calibration import Calibration, calibrate
from siftune.runs.planning.history import recorded_seconds
from siftune.runs.planning.workspace import Passed, PlanningWorkspace, walk
from siftune.selection.features.endpoint.endpoint import Endpoint
from siftune.selection.features.mapping import SHARD_ROWS
from siftune.selection.features.shards import layout_of, marker_path


def make_plan(configs: Sequence[SignalsConfig], scratch: Path | None = None) -> Plan:
    """The plan of a command's cells, which share a store. Their pools are read; nothing else is computed.

    scratch: a folder to keep in what else would be kept in the store: those pools, and the speed of the machine."""
    workspace = PlanningWorkspace(configs[0].store.absolute(), scratch)
    for workspace.cell, config in enumerate(configs):
        walk(config, workspace)
    return plan_of(workspace, [f"{config.name}, seed {config.seed}" for config in configs])


def plan_of(workspace: PlanningWorkspace, cells: Sequence[str], only: Collection[int] | None = None) -> Plan:
    """The plan of the stages that cells of these names passed; `only`: those that these cells need, by their places."""
    store = workspace.store.root
    timing, (free, on_gpu) = Timing(store, workspace.kept.root), memory_free()
    needed = [own for own in workspace.noted.values() if only is None or not set(own.cells).isdisjoint(only)]
    return Plan(
        steps=tuple(_step(passed, timing) for passed in needed),
        cells=tuple(cells),
        undecided=tuple(sorted(workspace.undecided)),
        store=store,
        disk_free=disk_free(store),
        memory_free=free,
        on_gpu=on_gpu,
    )


class Timing:
    """How long stages take on this machine."""

    def __init__(self, store: Path, kept: Path) -> None:
        self._store, self._kept = store, kept

    @cached_property
    def calibration(self) -> Calibration:
        """Measured where it is needed."""
        return calibrate(self._store, self._kept)

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
        endpoints=_endpoints(stage.config) + stage.endpoints,
    )


def _endpoints(config: Any) -> tuple[Endpoint, ...]:
    """That of a scorer or an encoder; that of tags' embeddings stands in a mapping, a suite may have several."""
    owner = config.get("encoder") if isinstance(config, Mapping) else config
    endpoint = getattr(owner, "endpoint", None)
    return getattr(owner, "endpoints", ()) if endpoint is None else (endpoint,)


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
