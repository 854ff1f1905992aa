"""Gradients of rows for LESS (Xia et al. 2024, arXiv 2402.04333): how they are made, and a pool's to one array."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from siftune.finetune.config import FinetuneConfig, LoraSettings
from siftune.finetune.model_sources import Model, ModelRef
from siftune.selection.features.checks import require_at_least
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.mapping import map_rows
from siftune.selection.features.runtimes.runtime import OpenJob, Runtime
from siftune.selection.features.scorers.scoring import write_reasons
from siftune.selection.pool.store import Pool

ProjectionKind = Literal["sparse", "rademacher"]
Preconditioner = Literal["adam", "authors"]


def warmup_training() -> FinetuneConfig:
    """The paper's warm-up (section 5.1 and appendix; the authors' scripts)."""
    lora = LoraSettings(rank=128, alpha=512, dropout=0.1, target_modules=("q_proj", "k_proj", "v_proj", "o_proj"))
    return FinetuneConfig(method="lora", epochs=4, learning_rate=2e-5, global_batch_size=32, lora=lora)


@dataclass(frozen=True, kw_only=True)
class LessGradients:
    """Gradients of LoRA adapters after each epoch of a short warm-up training, projected to few dimensions.

    The loss of a row is the mean over the tokens that the assistant says. Pool rows get the direction of the step that
    Adam would take, queries the plain gradient.
    """

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""
    model: Model
    """The model that is warmed up; the paper shows that a smaller one may pick for a larger."""
    warmup_fraction: float = 0.05
    """Share of the pool's rows, drawn at random, that the warm-up trains on (the paper's 5%)."""
    warmup: FinetuneConfig = field(default_factory=warmup_training)
    """The warm-up; each epoch leaves a checkpoint. Paper: 4 epochs, rank 128, alpha 512, dropout .1, 2e-5, batch 32."""
    seed: int = 0
    """Of the warm-up's rows and training, and of the projection. Not the experiment's: gradients are made once."""
    preconditioner: Preconditioner = "adam"
    """adam: the step that the optimiser would take, corrected for bias. authors: as in the published code, uncorrected
    and with epsilon under the root."""
    projection: ProjectionKind = "sparse"
    """rademacher: a dense matrix of signs, the paper's; sparse: one sign a column, which has the same mean and variance
    of inner products and takes 1/dimension of the work."""
    dimension: int = 8192
    """Dimensions that gradients are projected to (the paper's 8192)."""
    max_length: int = 2048
    """Tokens beyond which a row is cut on the right (the paper's 2048); cut rows are counted."""
    tokens_per_batch: int | None = field(default=None, metadata={"identity": False})
    """Positions of a batch, padding counted: does not change the result (beyond rounding), only speed and memory.
    null: 1024 on a CPU, 16384 on a GPU."""

    def __post_init__(self) -> None:
        for name, kind in (("preconditioner", Preconditioner), ("projection", ProjectionKind)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"gradients.{name}={getattr(self, name)!r} is not one of {', '.join(get_args(kind))}")
        require_at_least(self, "gradients", dimension=1, max_length=2, tokens_per_batch=1, seed=0)
        if not 0 < self.warmup_fraction <= 1:
            raise ValueError(f"gradients.warmup_fraction={self.warmup_fraction} must be above 0 and at most 1")
        if self.warmup.method != "lora" or self.warmup.merge:
            raise ValueError("gradients.warmup: LESS takes gradients of adapters: method=lora and merge=false")
        if self.warmup.max_steps is not None:
            raise ValueError("gradients.warmup.max_steps must be null: every epoch of the warm-up leaves a checkpoint")

    @property
    def checkpoints(self) -> int:
        """Number of checkpoints: one an epoch."""
        return self.warmup.epochs


@dataclass(frozen=True, kw_only=True)
class GradientJob:
    """The projected gradients of rows at one checkpoint."""

    reference: ModelRef
    """The model with the adapter of a checkpoint that `SnapshotWriter` kept."""
    preconditioner: Preconditioner | None
    """By Adam's moments in the checkpoint's folder; None: plain gradients (queries)."""
    projection: ProjectionKind
    dimension: int
    seed: int
    max_length: int
    tokens_per_batch: int | None

    @property
    def names(self) -> tuple[str, ...]:
        """gradients: (n, dimension) float32, NaN in rows that have none."""
        return ("gradients",)

    def open(self) -> OpenJob:
        """Load the model, its adapter and Adam's moments."""
        # Imported here, so that reading a config does not load torch.
        from siftune.selection.features.training.row_gradients import OpenGradients

        return OpenGradients.load(self)


@dataclass(frozen=True)
class GradientSummary:
    """What the gradients of a pool came to."""

    rows: int
    dimension: int
    without_value: int
    """Rows without a gradient; reasons.jsonl has their ids and says why."""
    truncated: int
    """Rows that were longer than the maximum and cut."""
    tokens: int
    """Tokens computed, padding not counted."""
    padding_share: float
    """Share of the positions computed that were padding."""
    seconds: float
    """Of this call; shards found from an earlier one cost next to nothing."""


def gradients(
    pool: Pool,
    job: GradientJob,
    folder: Path,
    progress: Progress = lambda rows: None,
    runtime: Runtime | None = None,
) -> GradientSummary:
    """Write folder/gradients.npy, (n, dimension) float32, and reasons.jsonl; shards of an interrupted call are kept."""
    start = time.perf_counter()
    notes = map_rows(pool, job, folder, runtime, progress)
    tokens, positions = notes.sum("tokens"), notes.sum("positions")
    return GradientSummary(
        rows=len(pool),
        dimension=job.dimension,
        without_value=write_reasons(pool, folder, notes),
        truncated=notes.sum("truncated"),
        tokens=tokens,
        padding_share=1 - tokens / positions if positions else 0.0,
        seconds=time.perf_counter() - start,
    )
