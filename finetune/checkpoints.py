"""Which checkpoints of a training run can be trusted, and which may go.

The trainer writes a checkpoint's files one after the other, so a killed process leaves half of one behind. A marker
with the size of every file is written last; a checkpoint without it, or that does not match it, is not resumed from.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch.distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

MARKER = "complete.json"
PREFIX = "checkpoint-"

logger = logging.getLogger(__name__)


class CheckpointKeeper(TrainerCallback):
    """Marks each checkpoint once all processes have written it, and deletes the ones that it replaces."""

    def __init__(self, keep: int) -> None:
        self._keep = keep

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called on every process after a checkpoint was written."""
        wait_for_all()
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir))
            mark_complete(folder / f"{PREFIX}{state.global_step}")
            prune(folder, max(1, self._keep))
        wait_for_all()


def wait_for_all() -> None:
    """Return when every process of the launch has come here."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def mark_complete(checkpoint: Path) -> None:
    """Write the marker, atomically, after the files are on the disk."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != MARKER)
    for path in files:
        _flush(path)
    sizes = {path.relative_to(checkpoint).as_posix(): path.stat().st_size for path in files}
    temporary = checkpoint / f".{MARKER}.tmp"
    temporary.write_text(json.dumps({"sizes": sizes}), encoding="utf-8")
    _flush(temporary)
    temporary.replace(checkpoint / MARKER)


def is_complete(checkpoint: Path) -> bool:
    """Whether the checkpoint has its marker and all its files at their full size."""
    try:
        sizes = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))["sizes"]
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (FileNotFoundError, json.JSONDecodeError):
        return False


def last_complete(folder: Path) -> Path | None:
    """The complete checkpoint with the most steps; those that are not complete are passed over, saying so."""
    for checkpoint in reversed(_checkpoints(folder)):
        if is_complete(checkpoint):
            return checkpoint
        logger.warning("%s was not written to its end (the process was stopped): it is ignored", checkpoint)
    return None


def prune(folder: Path, keep: int) -> None:
    """Delete incomplete checkpoints and all complete ones but the last `keep`."""
    complete = [checkpoint for checkpoint in _checkpoints(folder) if is_complete(checkpoint)]
    kept = complete[len(complete) - keep :] if keep else []
    for checkpoint in _checkpoints(folder):
        if checkpoint not in kept:
            # Without its marker first: a deletion that is cut short must not leave something that looks complete.
            (checkpoint / MARKER).unlink(missing_ok=True)
            shutil.rmtree(checkpoint)


def _checkpoints(folder: Path) -> list[Path]:
    found = [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(PREFIX)))


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
