"""Short trainings that features are taken from: which rows, and which checkpoints remain."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from siftune.finetune.config import FinetuneConfig
from siftune.finetune.model import resolve_dtype
from siftune.finetune.model_sources import ModelRef
from siftune.finetune.sft import finetune
from siftune.finetune.snapshots import SnapshotWriter, mean_learning_rates, snapshots
from siftune.selection.pool.store import Pool


def drawn_rows(size: int, fraction: float, seed: int) -> np.ndarray:
    """(k,) int64 ascending: the fraction of `size` rows, at least one, that a training sees."""
    count = max(1, round(fraction * size))
    return np.sort(np.random.default_rng(seed).choice(size, count, replace=False)).astype(np.int64)


def train(
    pool: Pool, reference: ModelRef, config: FinetuneConfig, folder: Path, *, fraction: float, count: int, seed: int
) -> dict[str, Any]:
    """Train on a random fraction of the pool and keep `count` checkpoints in the folder, adapters with Adam's moments.

    folder/learning_rates.npy, (count,) float64, has the mean learning rate of the steps that led to each. Returns the
    summary of the training. A run that was stopped is resumed. Under torchrun every process calls this.
    """
    adapters = config.method == "lora"
    dtype = None if adapters else resolve_dtype(reference.dtype)
    writer = SnapshotWriter(folder, count, moments=adapters, dtype=dtype)
    rows = list(pool.rows(drawn_rows(len(pool), fraction, seed)))
    summary = finetune(reference, rows, config, folder, seed, (writer,))
    np.save(folder / "learning_rates.npy", mean_learning_rates(summary.log, count))
    return dataclasses.asdict(summary)


def checkpoint_reference(base: ModelRef, folder: Path, count: int, number: int) -> ModelRef:
    """Where to load the model of checkpoint `number` of a training: an adapter on the base model, or a whole one."""
    checkpoint = snapshots(folder, count)[number]
    if (checkpoint / "adapter_config.json").is_file():
        return dataclasses.replace(base, adapter=str(checkpoint))
    return dataclasses.replace(base, path=str(checkpoint), revision=None)
