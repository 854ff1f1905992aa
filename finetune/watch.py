"""What watches a training run: the curve on disk, one progress bar, and the stop at numbers that are not finite."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

CURVE = ("step", "epoch", "loss", "learning_rate", "grad_norm")


class NonFiniteLossError(ValueError):
    """Training went to infinity or not-a-number; the message names the step, the learning rate and the remedy."""


def curve(history: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Of the trainer's log, the entries of optimiser steps and what belongs to the curve."""
    return [{name: entry[name] for name in CURVE if name in entry} for entry in history if "loss" in entry]


def check_finite(value: float, what: str, step: int, learning_rate: float) -> None:
    """NonFiniteLossError unless `value` is finite."""
    if not math.isfinite(value):
        raise NonFiniteLossError(
            f"the {what} is {value} at optimiser step {step} (learning rate {learning_rate:.3g}). The last checkpoint "
            "from before it is kept. Lower finetune.learning_rate, raise finetune.warmup_ratio, or train in more "
            "digits with model.dtype=float32"
        )


class FiniteGradients(TrainerCallback):
    """Stops before an optimiser step that would write infinities into the weights, and so into the next checkpoint."""

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called between the backward pass and the optimiser step."""
        gradients = [weight.grad for weight in kwargs["model"].parameters() if weight.grad is not None]
        if gradients:
            norm = float(torch.stack(torch._foreach_norm(gradients)).sum())
            check_finite(norm, "gradient's norm", state.global_step + 1, kwargs["lr_scheduler"].get_last_lr()[0])


class CurveWriter(TrainerCallback):
    """Appends each optimiser step to a JSONL file; a resumed run first drops the steps that it will repeat."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the steps of the checkpoint that is resumed from (none for a fresh run)."""
        if state.is_world_process_zero:
            lines = [json.dumps(entry) + "\n" for entry in curve(state.log_history)]
            self._path.write_text("".join(lines), encoding="utf-8")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Append the step that was just logged."""
        if state.is_world_process_zero:
            for entry in curve(state.log_history[-1:]):
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")


class Progress(TrainerCallback):
    """One bar over the optimiser steps, with the loss and the learning rate."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar, at the step that is resumed from."""
        if state.is_world_process_zero:
            self._bar = tqdm(total=state.max_steps, initial=state.global_step, desc="fine-tuning", unit="step")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move the bar on by one logged step."""
        entries = curve(state.log_history[-1:])
        if self._bar is not None and entries:
            self._bar.set_postfix_str(f"loss {entries[0]['loss']:.3f}, lr {entries[0]['learning_rate']:.1e}", False)
            self._bar.update()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
