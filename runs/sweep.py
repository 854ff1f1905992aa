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

CELL = "cell.json"
FAILED = "failed.json"


class CompareCells(Callback):
    """Notes in its output folder what became of each cell; after the sweep, prints and writes a comparison."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """In the process of the cell, wherever a launcher put it."""
        if config.hydra.mode != RunMode.MULTIRUN:
            return
        folder, overrides = Path(config.hydra.runtime.output_dir), list(config.hydra.overrides.task)
        if job_return.status is JobStatus.COMPLETED:
            if is_main_process() and job_return.return_value is not None:
                write_json(folder / CELL, {"overrides": overrides, "record": str(job_return.return_value)})
        elif str(config.hydra.sweeper._target_).endswith(BASIC_SWEEPER):
            error = describe(_error(job_return))
            if is_main_process():
                _console().print(f"failed: {error}", style="red", markup=False)
                write_json(folder / FAILED, {"overrides": overrides, "error": error})
            # Hydra's own sweeper would raise it before the comparison; sweepers that search have their own rules.
            job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """In the process that launched the sweep. Its exit code is 1 where a cell failed."""
        if not is_main_process():
            return
        sweep = Path(config.hydra.sweep.dir)
        finished, failed = _noted(sweep, CELL), _noted(sweep, FAILED)
        try:
            if finished:
                self.compare([Path(cell["record"]) for cell in finished], config)
        finally:
            if failed:
                _say_failed(failed, finished, config)
        if failed:
            sys.exit(1)

    def compare(self, folders: Sequence[Path], config: DictConfig) -> None:
        """What is shown of the cells that finished, by the folders of their records."""
        compare_runs(folders, Path(config.hydra.sweep.dir) / "report")


def _error(job_return: JobReturn) -> Exception:
    try:
        # It raises what the cell raised, and says of which overrides.
        return RuntimeError(f"no error, but {job_return.return_value}")
    except Exception as error:
        cause = error.__cause__
        # A refusal is wrapped, so that Hydra prints it without a stack trace.
        return cause if isinstance(error, CompactHydraException) and isinstance(cause, Exception) else error


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
