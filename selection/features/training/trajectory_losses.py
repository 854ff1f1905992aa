"""Losses of every row as a small model is trained: the training, and the passes over the pool."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siftune.finetune.model_sources import ModelRef
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.runtimes.runtime import Runtime
from siftune.selection.features.scorers.scoring import REASONS_FILE, score
from siftune.selection.features.training.trajectories import S2LTrajectories
from siftune.selection.features.training.warmup import checkpoint_reference, train
from siftune.selection.files import write_whole
from siftune.selection.pool.store import Pool

TRAINING, LOSSES = "training", "losses"
SUMMARY = "summary.json"


@dataclass(frozen=True)
class TrajectorySummary:
    """What the trajectories of a pool came to."""

    rows: int
    checkpoints: int
    without_value: int
    """Rows without a loss; reasons.jsonl has their ids and says why."""
    truncated: int
    """Rows that were longer than the maximum and cut."""
    tokens: int
    """Tokens computed over all checkpoints, padding not counted."""
    training: dict[str, Any]
    """What the training came to."""
    seconds: float
    """Of this call."""


def trajectories(
    pool: Pool,
    config: S2LTrajectories,
    reference: ModelRef,
    folder: Path,
    progress: Progress = lambda rows: None,
    runtime: Runtime | None = None,
) -> TrajectorySummary:
    """Write folder/trajectories.npy, (n, checkpoints) float32 with NaN in rows without a loss, and reasons.jsonl.

    The model is trained, then each checkpoint scores the pool in shards; a call that was stopped goes on where it was.
    `progress` is told the rows done, each as often as there are checkpoints.
    """
    if (folder / SUMMARY).is_file():
        return TrajectorySummary(**json.loads((folder / SUMMARY).read_text(encoding="utf-8")))
    start = time.perf_counter()
    training = trained(pool, config, reference, folder / TRAINING)
    parts = [folder / LOSSES / f"{number:03d}" for number in range(config.checkpoints)]
    scored = []
    for number, part in enumerate(parts):
        model = checkpoint_reference(reference, folder / TRAINING, config.checkpoints, number)
        scored.append(score(pool, config.scorer(), model, part, progress, runtime))
    losses = _stacked(parts)
    np.save(folder / "trajectories.npy", losses)
    _collect_reasons(parts, folder / REASONS_FILE)
    summary = TrajectorySummary(
        rows=len(pool),
        checkpoints=config.checkpoints,
        without_value=int(np.isnan(losses[:, 0]).sum()),
        truncated=scored[0].truncated,
        tokens=sum(each.tokens for each in scored),
        training=training,
        seconds=time.perf_counter() - start,
    )
    write_whole(folder / SUMMARY, json.dumps(dataclasses.asdict(summary)))
    # Every checkpoint is a whole model: gigabytes that nothing reads again.
    for used in (TRAINING, LOSSES):
        shutil.rmtree(folder / used)
    return summary


def trained(pool: Pool, config: S2LTrajectories, reference: ModelRef, folder: Path) -> dict[str, Any]:
    """The training's summary; it is done unless the folder has it. Under torchrun every process calls this."""
    done = folder / SUMMARY
    if not done.is_file():
        summary = train(
            pool,
            reference,
            config.training,
            folder,
            fraction=config.fraction,
            count=config.checkpoints,
            seed=config.seed,
        )
        write_whole(done, json.dumps(summary))
    found: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
    return found


def _stacked(parts: list[Path]) -> np.ndarray:
    losses = np.stack([np.log(np.load(part / "perplexity.npy")) for part in parts], axis=1).astype(np.float32)
    losses[np.isnan(losses).any(axis=1)] = np.nan
    return losses


def _collect_reasons(parts: list[Path], target: Path) -> None:
    """One line a row that has no loss at some checkpoint, with the first reason there is."""
    reasons: dict[str, str] = {}
    for part in parts:
        for line in (part / target.name).read_text(encoding="utf-8").splitlines():
            reasons.setdefault(json.loads(line)["id"], line)
    write_whole(target, "".join(f"{line}\n" for line in reasons.values()))
