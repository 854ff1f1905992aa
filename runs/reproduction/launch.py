"""Planning the cells of a paper's table, and launching those that are not done."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra import initialize_config_module
from rich.console import Console

from siftune.runs import commands
from siftune.runs.build import build
from siftune.runs.hydra_run import run_hydra
from siftune.runs.paper import Paper
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, compose_cell, plain_node
from siftune.runs.reproduction.cells import Line, as_lines, lines_of
from siftune.runs.reproduction.config import Request
from siftune.runs.reproduction.plan import ComposedCell, TablePlan, compose_cells, plan_cells
from siftune.runs.reproduction.plan_tables import print_progress, print_table_plan
from siftune.runs.reproduction.report import report_table
from siftune.runs.sweep import CELL


def make_table(name: str, request: Request) -> None:
    """Plan, launch and report, or as much of it as was asked for; SystemExit with 1 where a cell failed."""
    paper = read_paper(name, request)
    lines = lines_of(name, paper, request.scale, request.overrides)
    with redirect_stdout(sys.stderr):
        planned = _planned(lines, request)
    if request.settings.dry_run:
        console = Console()
        print_table_plan(name, planned, paper, request.settings.gpu, console)
        for line in lines_to_do(planned):
            console.print(_command(line, request), markup=False, highlight=False, soft_wrap=True)
        return
    folders = planned.folders if request.settings.report_only else _made(planned, request)
    report_table(name, request, paper, folders, planned)
    if len(folders) < len(planned.cells) and not request.settings.report_only:
        sys.exit(1)


def read_paper(name: str, request: Request) -> Paper:
    """The experiment's `paper`, as the experiment composes."""
    own = [override for override in request.overrides if override.lstrip("+~").startswith("paper.")]
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        node = plain_node(compose_cell("run", [f"experiment={name}", *own], request.config_dir))
    paper: Paper = build(Paper, node["paper"], "paper")
    return paper


def lines_to_do(planned: TablePlan) -> list[Line]:
    """What is left to launch, as few sweeps as have just these cells."""
    left = [cell.cell for cell in planned.cells if cell.state != "done"]
    grids = dict.fromkeys(cell.grid for cell in left)
    return [line for grid in grids for line in as_lines(cell.overrides for cell in left if cell.grid == grid)]


def _planned(lines: Sequence[Line], request: Request) -> TablePlan:
    launching = not (request.settings.dry_run or request.settings.report_only)

    def check(node: Mapping[str, Any]) -> None:
        if launching:
            commands.check_run(node)

    cells = compose_cells(lines, request.config_dir, check)
    if launching:
        return plan_cells(cells, tolerant=not _checked(cells))
    with TemporaryDirectory(prefix="siftune-dry-run-") as scratch:
        return plan_cells(cells, tolerant=True, scratch=Path(scratch))


def _checked(cells: Sequence[ComposedCell]) -> bool:
    """With check_resources=false what a plan would refuse is tried all the same."""
    return all(cell.config.check_resources for cell in cells)


def _made(planned: TablePlan, request: Request) -> list[Path]:
    """Launch what is not done; the folders of all records that are there then, in the order of the cells."""
    console = Console(stderr=True, highlight=False)
    print_progress(planned, console)
    if _checked([cell.cell for cell in planned.cells]):
        planned.plan.check()
        planned.plan.check_endpoints()
    made: dict[frozenset[str], Path] = {}
    for number, line in enumerate(lines_to_do(planned)):
        made |= _launched(line, number, planned.plan.store, request)
    found = [cell.folder or made.get(_of_the_cell(cell.cell.overrides)) for cell in planned.cells]
    return [folder for folder in found if folder is not None]


def _launched(line: Line, number: int, store: Path, request: Request) -> dict[frozenset[str], Path]:
    """One sweep; the overrides of its cells that came to their end -> the folders of their records."""
    folder = store / "logs" / f"{datetime.now():%Y-%m-%d}" / f"{datetime.now():%H-%M-%S-%f}-reproduce-{number}"
    ours = [f'hydra.sweep.dir="{folder}"', "hydra/callbacks=note"]
    own_yamls = [] if request.config_dir is None else ["--config-dir", request.config_dir]
    try:
        run_hydra("run", commands.run, ["-m", *own_yamls, *ours, *line])
    except SystemExit as ended:
        # The other sweeps go on; what failed is said already.
        if ended.code not in (None, 0, 1):
            raise
    noted = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"*/{CELL}"))]
    return {_of_the_cell(cell["overrides"]): Path(cell["record"]) for cell in noted}


def _of_the_cell(overrides: Sequence[str]) -> frozenset[str]:
    """Without those that say how it is launched."""
    return frozenset(override for override in overrides if not override.startswith("hydra"))


def _command(line: Line, request: Request) -> str:
    own_yamls = [] if request.config_dir is None else ["--config-dir", request.config_dir]
    return shlex.join(["siftune", "run", "-m", *own_yamls, *line])
