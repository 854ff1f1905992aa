"""Which cells of a table are done, and what the others take."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hydra import initialize_config_module

from siftune.runs import commands
from siftune.runs.artifacts import read_record
from siftune.runs.build import ConfigError
from siftune.runs.config import ExperimentConfig, experiment_config
from siftune.runs.launchers import check_launcher
from siftune.runs.plan import Plan
from siftune.runs.planning.steps import plan_of
from siftune.runs.planning.workspace import PlanningWorkspace, walk
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, checked_cell, compose_cell
from siftune.runs.reproduction.cells import Cell, Line, cells_in

State = Literal["done", "partly cached", "to do", "unread"]
SHARED = ("pool", "model")
"""Kinds of stages that say nothing of how far a cell is."""
OFFLINE = "offline"
"""In what is said of a model or a pool of the hub that is neither reached nor in the cache."""
Check = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class ComposedCell:
    """A run of the table."""

    overrides: Cell
    grid: int
    """Place of its grid among the table's."""
    config: ExperimentConfig

    @property
    def name(self) -> str:
        """As it is called in plans."""
        return f"{self.config.name}, seed {self.config.seed}"


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """How far it is."""

    cell: ComposedCell
    state: State
    """`unread`: what it takes cannot be told here, as `problem` says."""
    folder: Path | None
    """Of its record, where it is done."""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class TablePlan:
    """The plan of a table."""

    cells: tuple[PlannedCell, ...]
    plan: Plan
    """Of the cells that are not done."""

    def of_state(self, *states: State) -> tuple[PlannedCell, ...]:
        """The cells in these states."""
        return tuple(cell for cell in self.cells if cell.state in states)

    @property
    def folders(self) -> list[Path]:
        """Of the records that are there."""
        return [cell.folder for cell in self.cells if cell.folder is not None]


def compose_cells(lines: Sequence[Line], config_dir: str | None, check: Check) -> list[ComposedCell]:
    """Every cell, each once though several grids have it; what `check` raises for the first one that it refuses."""
    cells: dict[str, ComposedCell] = {}
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        for grid, line in enumerate(lines):
            for overrides in cells_in(line):
                config = compose_cell("run", overrides, config_dir)
                check_launcher(config)
                node = checked_cell(config, check)
                cell = ComposedCell(overrides=overrides, grid=grid, config=experiment_config(node))
                cells.setdefault(json.dumps(node, sort_keys=True, default=str), cell)
    found = list(cells.values())
    if len(stores := sorted({str(cell.config.store) for cell in found})) > 1:
        raise ConfigError(f"the cells of a table share one store: {', '.join(stores)}")
    return found


def plan_cells(cells: Sequence[ComposedCell], tolerant: bool, scratch: Path | None = None) -> TablePlan:
    """Walk through the stages of each cell; nothing but pools is read.

    tolerant: a cell whose pool or model is not to be had here is noted as unread, and not refused.
    scratch: a folder to keep those pools in, rather than in the store."""
    commands.quiet_libraries()
    workspace = PlanningWorkspace(cells[0].config.store.absolute(), scratch)
    found = []
    for workspace.cell, cell in enumerate(cells):
        try:
            folder = walk(cell.config, workspace)
            if tolerant:
                _try_costs(workspace)
        except (ValueError, OSError) as error:
            if not tolerant:
                raise
            problem = " ".join(str(error).split())
            if OFFLINE in problem.lower():
                _stop_asking()
            found.append(PlannedCell(cell=cell, state="unread", folder=None, problem=problem))
            continue
        assert folder is not None
        done = read_record(folder) is not None
        state: State = "done" if done else _state(workspace)
        found.append(PlannedCell(cell=cell, state=state, folder=folder if done else None))
    left = {place for place, cell in enumerate(found) if cell.state not in ("done", "unread")}
    return TablePlan(cells=tuple(found), plan=plan_of(workspace, [cell.name for cell in cells], only=left))


def _stop_asking() -> None:
    """The hub is not reached: every other question would be put to it again for minutes."""
    import datasets
    import huggingface_hub

    huggingface_hub.constants.HF_HUB_OFFLINE = True
    datasets.config.HF_HUB_OFFLINE = True


def _try_costs(workspace: PlanningWorkspace) -> None:
    """What is to be estimated needs the models' sizes and tokenizers, which may be as far away as pools."""
    for passed in list(workspace.noted.values()):
        if passed.cells == [workspace.cell] and passed.artifact is None:
            passed.stage.cost()


def _state(workspace: PlanningWorkspace) -> State:
    own = [passed for passed in workspace.noted.values() if workspace.cell in passed.cells]
    there = any(passed.artifact is not None for passed in own if passed.stage.kind not in SHARED)
    return "partly cached" if there else "to do"
