"""A model as it was at several points of its training: weights, and Adam's moments, as safetensors.

A checkpoint that training resumes from holds torch's pickle of the optimiser. What is read for features lies here.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from siftune.finetune.checkpoints import is_complete, mark_complete
from siftune.finetune.result import LEFTOVERS, convert_weights

SNAPSHOTS = "snapshots"
MOMENTS = "adam.safetensors"
FIRST, SECOND, ABOUT = "exp_avg", "exp_avg_sq", "adam"


@dataclass(frozen=True)
class AdamState:
    """Adam's moments at a snapshot, not corrected for bias."""

    first: dict[str, torch.Tensor]
    """Parameter name -> its first moment, float32, of the parameter's shape."""
    second: dict[str, torch.Tensor]
    """Likewise the second."""
    step: int
    """Optimiser steps that went into them."""
    betas: tuple[float, float]
    eps: float


class SnapshotWriter(TrainerCallback):
    """Keeps `count` snapshots, evenly spread over the training, the last one at its end.

    With as many of them as epochs, each is the end of an epoch. One that is there already is left as it is: a resumed
    run would write the same.
    """

    def __init__(self, folder: Path, count: int, *, moments: bool, dtype: torch.dtype | None = None) -> None:
        """`moments`: keep Adam's too; `dtype`: what the weights are rounded to (whole models)."""
        self._folder = folder / SNAPSHOTS
        self._count = count
        self._moments = moments
        self._dtype = dtype

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """ValueError where the training is too short, or its weights are spread over processes."""
        if state.max_steps < self._count:
            raise ValueError(
                f"{self._count} checkpoints are to be kept of {state.max_steps} optimiser steps: train on more rows, "
                "for more epochs or with a smaller global_batch_size, or keep fewer"
            )
        if any(os.environ.get(f"ACCELERATE_USE_{kind}") == "true" for kind in ("FSDP", "DEEPSPEED")):
            raise ValueError(
                "checkpoints of a training whose weights are spread over processes (FSDP, DeepSpeed) cannot be kept: "
                "compute gradients and trajectories first, with plain data parallelism or in one process"
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called after every optimiser step, before the checkpoint that training would resume from."""
        target = self._folder / str(state.global_step)
        wanted = state.global_step in snapshot_steps(state.max_steps, self._count)
        if not wanted or not state.is_world_process_zero or is_complete(target):
            return
        temporary = self._folder / f".{target.name}.tmp"
        for leftover in (temporary, target):
            shutil.rmtree(leftover, ignore_errors=True)
        self._write(temporary, state.global_step, kwargs)
        mark_complete(temporary)
        temporary.replace(target)

    def _write(self, folder: Path, step: int, trained: dict[str, Any]) -> None:
        trained["model"].save_pretrained(folder)
        trained["processing_class"].save_pretrained(folder)
        for name in LEFTOVERS:
            (folder / name).unlink(missing_ok=True)
        if self._dtype is not None:
            convert_weights(folder, self._dtype)
        if self._moments:
            _save_moments(folder / MOMENTS, trained["model"], trained["optimizer"], step)


def snapshot_steps(steps: int, count: int) -> list[int]:
    """Optimiser steps after which a snapshot is kept."""
    return [-(-steps * number // count) for number in range(1, count + 1)]


def snapshots(folder: Path, count: int) -> list[Path]:
    """The folders of a finished training's snapshots, in order; ValueError where one is missing or damaged."""
    found = sorted((path for path in (folder / SNAPSHOTS).glob("[0-9]*")), key=lambda path: int(path.name))
    if len(found) != count or not all(is_complete(path) for path in found):
        raise ValueError(f"{folder / SNAPSHOTS} has lost checkpoints: delete {folder}, and they are computed again")
    return found


def mean_learning_rates(log: list[dict[str, float]], count: int) -> np.ndarray:
    """(count,) float64: the mean learning rate of the optimiser steps that led from each snapshot to the next."""
    rates = np.array([entry["learning_rate"] for entry in log])
    return np.array([part.mean() for part in np.split(rates, snapshot_steps(len(rates), count)[:-1])])


def load_moments(folder: Path) -> AdamState:
    """What `SnapshotWriter` kept of Adam."""
    with safe_open(folder / MOMENTS, framework="pt") as file:
        about = json.loads(file.metadata()[ABOUT])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    first, second = (
        {name.removesuffix(f".{kind}"): value for name, value in tensors.items() if name.endswith(f".{kind}")}
        for kind in (FIRST, SECOND)
    )
    return AdamState(first, second, about["step"], tuple(about["betas"]), about["eps"])


def _save_moments(path: Path, model: torch.nn.Module, optimizer: Any, step: int) -> None:
    tensors = {
        f"{name}.{kind}": optimizer.state[weight][kind].detach().float().contiguous().cpu()
        for name, weight in model.named_parameters()
        if weight.requires_grad
        for kind in (FIRST, SECOND)
    }
    group = optimizer.param_groups[0]
    about = {"step": step, "betas": group["betas"], "eps": group["eps"]}
    # One entry: with several, their order, and so the file's bytes, would differ from run to run.
    save_file(tensors, path, {ABOUT: json.dumps(about)})
