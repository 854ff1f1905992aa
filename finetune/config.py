"""How a base model is fine-tuned on a subset."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal

PERFORMANCE = {"identity": False}


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """Low-rank adapters on frozen weights (Hu et al. 2021, arXiv 2106.09685)."""

    rank: int = 16
    """Rank of the update of each weight matrix."""
    alpha: int = 32
    """The update is scaled by alpha / rank; twice the rank is the usual choice."""
    dropout: float = 0.0
    """Dropout on the adapters' input. QLoRA: 0.1 for 7B and 13B, 0.05 for larger ones; on CPUs it is slow."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Which layers get adapters: every linear layer but the LM head (QLoRA section 4), or the names of modules."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"finetune.lora.rank={self.rank} must be at least 1")
        if self.alpha <= 0:
            raise ValueError(f"finetune.lora.alpha={self.alpha} must be positive")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"finetune.lora.dropout={self.dropout} must be in [0, 1)")
        if not self.target_modules:
            raise ValueError("finetune.lora.target_modules=[] would train nothing: name modules or use all-linear")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Supervised fine-tuning; the loss covers the assistant's turns only.

    The optimiser step sees the same rows whatever the micro-batch and the number of devices, so neither is part of a
    run's identity.
    """

    method: Literal["lora", "full"] = "lora"
    """lora trains adapters, full trains every weight."""
    epochs: int = 3
    """Passes over the subset (MIG and Diversify-and-Conquer: 3, RDS+: 2)."""
    max_steps: int | None = None
    """Stop after this many optimiser steps, going round the subset as often as needed; null: after `epochs`."""
    learning_rate: float = 2e-4
    """Peak learning rate. QLoRA: 2e-4 for adapters; the papers' full fine-tuning: 5e-6 to 2e-5."""
    scheduler: Literal["linear", "cosine", "constant"] = "linear"
    """From the peak down to zero, or constant; after the warm-up in each case."""
    warmup_ratio: float = 0.03
    """Share of the steps, rounded down, that the learning rate rises for (all four papers warm up for about this)."""
    weight_decay: float = 0.0
    """AdamW's decoupled weight decay (0 in the papers' scripts)."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm; 0 does not clip."""
    global_batch_size: int = 16
    """Rows (packed sequences, with packing) of one optimiser step, over all devices and accumulation steps."""
    micro_batch_size: int = field(default=8, metadata=PERFORMANCE)
    """At most this many rows go through the model at once on a device; lower it when memory runs out."""
    max_length: int = 2048
    """Longer conversations are cut on the right, and counted (RDS+: 2048)."""
    packing: bool = False
    """Put several rows into one sequence of max_length tokens, none seeing another (best fit decreasing)."""
    lora: LoraSettings | None = field(default_factory=LoraSettings)
    """The adapters of method=lora; null for method=full."""
    merge: bool = False
    """Write the model with the adapters added into its weights instead of the adapters alone."""
    gradient_checkpointing: bool | None = field(default=None, metadata=PERFORMANCE)
    """Recompute activations in the backward pass: less memory, a third more work. null: on GPUs only."""
    save_steps: int = field(default=20, metadata=PERFORMANCE)
    """Optimiser steps between checkpoints: what a killed run repeats at most."""
    keep_checkpoints: int = field(default=0, metadata=PERFORMANCE)
    """Checkpoints that remain after the run has finished; while it trains, at least the last complete one does."""

    def __post_init__(self) -> None:
        _at_least(self, 1, ("epochs", "global_batch_size", "micro_batch_size", "max_length", "save_steps"))
        _at_least(self, 0, ("weight_decay", "max_grad_norm", "keep_checkpoints"))
        if self.max_steps is not None:
            _at_least(self, 1, ("max_steps",))
        if self.learning_rate <= 0:
            raise ValueError(f"finetune.learning_rate={self.learning_rate} must be positive")
        if not 0 <= self.warmup_ratio < 1:
            raise ValueError(f"finetune.warmup_ratio={self.warmup_ratio} must be in [0, 1)")
        self._check_method()

    def micro_batch(self, world_size: int) -> int:
        """Rows of one forward pass: the largest divisor of a process's share of the global batch within the limit."""
        share, rest = divmod(self.global_batch_size, world_size)
        if rest:
            raise ValueError(
                f"finetune.global_batch_size={self.global_batch_size} cannot be shared by {world_size} processes "
                f"(WORLD_SIZE): use a multiple of {world_size}"
            )
        return next(size for size in range(min(self.micro_batch_size, share), 0, -1) if share % size == 0)

    def _check_method(self) -> None:
        if self.method == "lora" and self.lora is None:
            raise ValueError("finetune.method=lora needs finetune.lora (rank, alpha, ...): choose finetune=lora")
        if self.method == "full" and self.lora is not None:
            raise ValueError("finetune.method=full has no adapters: set finetune.lora=null, or choose finetune=full")
        if self.method == "full" and self.merge:
            raise ValueError("finetune.merge=true with finetune.method=full: there are no adapters to merge")


def world_size() -> int:
    """Processes of this torchrun or accelerate launch; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _at_least(config: FinetuneConfig, minimum: int, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(config, name)
        if value < minimum:
            raise ValueError(f"finetune.{name}={value} must be at least {minimum}")
