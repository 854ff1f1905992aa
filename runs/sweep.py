"""The cells of a sweep: one that fails is noted and the others go on; at the end they are shown side by side."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console

from siftune.runs.artifacts import write_json
from siftune.runs.attempts import describe
from siftune.runs.commands import compare_runs
from siftune.runs.distributed import is_main_process
from siftune.runs.preflight import BASIC_SWEEPER
from siftune.runs.searching.config import PLUGIN, SWEEPER
from siftune.runs.searching.objective import Objective

CELL = "cell.json"
FAILED = "failed.json"


class CompareCells(Callback):
    """Notes in its output folder what became of each cell; after the sweep, prints and writes a comparison."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """In the process of the cell, wherever a launcher put it."""
        if config.hydra.mode != RunMode.MULTIRUN:
            return
        folder, overrides = Path(config.hydra.runtime.output_dir), list(config.hydra.overrides.task)
        sweeper = str(config.hydra.sweeper._target_)
        if job_return.status is JobStatus.COMPLETED:
            if is_main_process() and job_return.return_value is not None:
                write_json(folder / CELL, {"overrides": overrides, "record": str(job_return.return_value)})
                if sweeper.endswith(PLUGIN):
                    # What that sweeper searches for is what a cell returns.
                    job_return.return_value = _objective(config).value(Path(job_return.return_value))
        elif sweeper.endswith((BASIC_SWEEPER, SWEEPER)):
            error = describe(_error(job_return))
            if is_main_process():
                _console().print(f"failed: {error}", style="red", markup=False)
                write_json(folder / FAILED, {"overrides": overrides, "error": error})
            # Hydra's own sweeper would raise it before the comparison; a search notes it in the trial. Sweepers that
            # are not siftune's have their own rules.
            job_return.status = JobStatus.COMPLETED
            job_return.return_value = error if sweeper.endswith(SWEEPER) else None

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """In the process that launched the sweep; exit code 1 where a cell failed; of a search, where all did."""
        if not is_main_process():
            return
        sweep = Path(config.hydra.sweep.dir)
        finished, failed = _noted(sweep, CELL), _noted(sweep, FAILED)
        searched = str(config.hydra.sweeper._target_).endswith(SWEEPER)
        try:
            # A search has shown its trials: its cells are of several budgets.
            if finished and not searched:
                self.compare([Path(cell["record"]) for cell in finished], config)
        finally:
            if failed:
                _say_failed(failed, finished, config)
        if failed and not (searched and finished):
            sys.exit(1)

    def compare(self, folders: Sequence[Path], config: DictConfig) -> None:
        """What is shown of the cells that finished, by the folders of their records."""
        compare_runs(folders, Path(config.hydra.sweep.dir) / "report")


class NoteCells(CompareCells):
    """Notes what became of each cell, for whoever launched the sweep."""

    def compare(self, folders: Sequence[Path], config: DictConfig) -> None:
        """The cells are compared by whoever launched them."""


def _error(job_return: JobReturn) -> Exception:
    try:
        # It raises what the cell raised, and says of which overrides.
        return RuntimeError(f"no error, but {job_return.return_value}")
    except Exception as error:
        cause = error.__cause__
        # A refusal is wrapped, so that Hydra prints it without a stack trace.
        return cause if isinstance(error, CompactHydraException) and isinstance(cause, Exception) else error


def _objective(config: DictConfig) -> Objective:
    """Of the plugin's own search: the headline, in its one direction."""
    direction = config.hydra.sweeper.direction
    return Objective(tasks=(), direction=getattr(direction, "name", direction))


def _noted(sweep: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(sweep.glob(f"*/{name}"))]


def _say_failed(failed: Sequence[dict[str, Any]], finished: Sequence[dict[str, Any]], config: DictConfig) -> None:
    console, cells = _console(), [*failed, *finished]
    console.print(f"{len(failed)} of {len(cells)} cells failed:", style="red")
    common = set(failed[0]["overrides"]).intersection(*(cell["overrides"] for cell in cells)) if finished else set()
    for cell in failed:
        own = [override for override in cell["overrides"] if override not in common] or ["this one"]
        console.print(f"  {' '.join(own)}: {cell['error']}", markup=False)
    command = f"siftune runs store={config.store}"
    console.print(f"Where: {command} state=failed. Start them again: {command} relaunch=failed", markup=False)


def _console() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)
