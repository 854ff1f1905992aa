"""How the losses of every row as a small model is trained are made (S2L, Yang et al. 2024, arXiv 2403.07384)."""

from __future__ import annotations

from dataclasses import dataclass, field

from siftune.finetune.config import FinetuneConfig
from siftune.finetune.model_sources import Model
from siftune.selection.features.checks import require_at_least
from siftune.selection.features.scorers.losses import LossScorer


def small_model_training() -> FinetuneConfig:
    """The authors' configuration for Pythia-70M."""
    return FinetuneConfig(
        method="full",
        lora=None,
        epochs=3,
        learning_rate=2e-5,
        scheduler="cosine",
        global_batch_size=32,
        max_length=512,
    )


@dataclass(frozen=True, kw_only=True)
class S2LTrajectories:
    """The loss of every row at several checkpoints of a small model's training.

    The loss is the mean of -log p over the tokens that the assistant says, given what comes before.
    """

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""
    model: Model
    """The small model; the paper's is Pythia-70M, for larger ones that are to be trained."""
    fraction: float = 1.0
    """Share of the pool's rows, drawn at random, that it is trained on; the paper trains on all."""
    training: FinetuneConfig = field(default_factory=small_model_training)
    """How it is trained (the authors: 3 epochs, 2e-5, cosine, every weight)."""
    checkpoints: int = 12
    """Points of the training, evenly spread, the last at its end, at which all rows' losses are taken (authors: 12)."""
    seed: int = 0
    """Of the rows and the training. Not the experiment's: trajectories are made once."""
    max_length: int = 512
    """Tokens beyond which a row is cut on the right (the authors' 512); cut rows are counted."""
    tokens_per_batch: int | None = field(default=None, metadata={"identity": False})
    """Positions of a batch as losses are taken: changes speed and memory. null: 1024 on a CPU, 16384 on a GPU."""

    def __post_init__(self) -> None:
        require_at_least(self, "trajectories", checkpoints=1, max_length=2, tokens_per_batch=1, seed=0)
        if not 0 < self.fraction <= 1:
            raise ValueError(f"trajectories.fraction={self.fraction} must be above 0 and at most 1")
        if self.training.method != "full":
            raise ValueError("trajectories.training: the small model is trained whole: method=full and lora=null")

    def scorer(self) -> LossScorer:
        """What takes the losses of a checkpoint: their exponential is the perplexity."""
        return LossScorer(
            name=self.name,
            model=self.model,
            scores=("perplexity",),
            max_length=self.max_length,
            tokens_per_batch=self.tokens_per_batch,
        )
