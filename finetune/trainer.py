"""TRL's SFTTrainer with siftune's batches, its CPU kernels, and a stop at the first loss that is not finite."""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch.utils.data import DataLoader
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTTrainer

from siftune.finetune import cpu_head, cpu_lora
from siftune.finetune.batches import GlobalBatchSampler
from siftune.finetune.watch import check_finite


class AssistantTrainer(SFTTrainer):
    """Trains on a data set that has its labels; `batches` says which rows each optimiser step sees."""

    def __init__(self, *, batches: GlobalBatchSampler, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._batches = batches
        self._tokens = 0
        self.remove_callback(PrinterCallback)
        self.add_callback(_EpochSetter(batches))
        base = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        assert isinstance(base, PreTrainedModel)
        self._on_cpu = self.args.device.type == "cpu" and cpu_head.supports(base)
        if self._on_cpu:
            cpu_head.add_summed_loss(base)
            cpu_lora.fuse_adapters(base)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Micro-batches in the order of `batches`, dealt out to the processes."""
        assert isinstance(self.train_dataset, Dataset)
        loader: DataLoader[Any] = DataLoader(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            sampler=self._batches,
            collate_fn=self.data_collator,
            pin_memory=self.args.device.type == "cuda",
        )
        return self.accelerator.prepare(loader)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The micro-batch's share of the mean loss over the trained tokens of the global batch."""
        if not self._on_cpu or num_items_in_batch is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # Rows are padded on the right, so under causal attention no real token sees the padding and no mask is needed.
        # Packed rows are told apart by their positions.
        seen = {name: inputs[name] for name in ("input_ids", "labels", "position_ids") if name in inputs}
        loss = model(**seen, summed_loss=True) / num_items_in_batch
        real = inputs["attention_mask"] if "attention_mask" in inputs else torch.ones_like(inputs["input_ids"])
        self._tokens += int(self.accelerator.gather(real.sum()).sum())
        # Data parallelism averages gradients over the processes, and num_items_in_batch counts the tokens of all.
        return loss * self.accelerator.num_processes

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Forward and backward of one micro-batch; NonFiniteLossError where the loss is not finite."""
        loss = super().training_step(*args, **kwargs)
        check_finite(float(loss), "loss", self.state.global_step + 1, self._get_learning_rate())
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the number of tokens seen, which TRL counts in the loss that is replaced on CPUs."""
        super().log(logs | {"num_tokens": self._tokens} if self._on_cpu else logs, start_time)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: the record of the run says more, and a card in every checkpoint helps nobody."""


class _EpochSetter(TrainerCallback):
    """Tells the sampler the epoch, also on a resume in the middle of one and however the sampler is wrapped."""

    def __init__(self, batches: GlobalBatchSampler) -> None:
        self._batches = batches

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count epochs in optimiser steps, which are exact."""
        self._batches.set_epoch(state.global_step // self._batches.steps_per_epoch)
