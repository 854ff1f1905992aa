"""After a sweep: its cells side by side."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from siftune.runs.artifacts import write_json
from siftune.runs.commands import compare_runs
from siftune.runs.distributed import is_main_process

CELL = "cell.json"
log = logging.getLogger(__name__)


class CompareCells(Callback):
    """Notes the record of each cell in its output folder; after the sweep, prints and writes their comparison."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """In the process of the cell, wherever a launcher put it."""
        if job_return.status is JobStatus.COMPLETED and is_main_process():
            write_json(Path(config.hydra.runtime.output_dir) / CELL, {"record": str(job_return.return_value)})

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """In the process that launched the sweep."""
        sweep = Path(config.hydra.sweep.dir)
        cells = sorted(sweep.glob(f"*/{CELL}"))
        if cells and is_main_process():
            compare_runs([Path(json.loads(cell.read_text())["record"]) for cell in cells], sweep / "report")
