"""Supervised fine-tuning of a base model on rows, through TRL."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, TrainerCallback, set_seed
from transformers.utils import logging
from trl import SFTConfig

from siftune.finetune.adapters import check_goes_on, lora_config, resumed_adapter
from siftune.finetune.batches import GlobalBatchSampler
from siftune.finetune.checkpoints import CheckpointKeeper, last_complete, prune, wait_for_all
from siftune.finetune.config import FinetuneConfig, world_size
from siftune.finetune.data import TrainingData, pack, tokenize_rows, with_blank_row
from siftune.finetune.model import ModelRef, load_causal_lm, load_tokenizer, resolve_dtype
from siftune.finetune.result import save_result
from siftune.finetune.trainer import AssistantTrainer
from siftune.finetune.watch import CurveWriter, FiniteGradients, Progress, curve
from siftune.selection.pool.rows import Row

SCHEDULERS = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


@dataclass(frozen=True)
class FinetuneSummary:
    """What a training run did."""

    steps: int
    """Optimiser steps."""
    tokens: int
    """Tokens that went through the model, over all epochs, padding not counted."""
    trained_tokens: int
    """Of them, those with a loss."""
    rows: int
    """Rows of the subset that were trained on."""
    truncated_rows: int
    """Of them, those cut at the maximum length."""
    untrained_rows: tuple[str, ...]
    """Ids of rows left out because nothing that the assistant says remains within the maximum length."""
    seconds: float
    """Of this call: a resumed run does not count what came before."""
    final_loss: float
    """Mean loss of the last optimiser step's tokens, in nats."""
    log: list[dict[str, float]]
    """The curve: step, epoch, loss, learning rate and gradient norm of every optimiser step."""


def finetune(
    ref: ModelRef,
    rows: Sequence[Row],
    config: FinetuneConfig,
    folder: Path,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
) -> FinetuneSummary:
    """Train `ref` on `rows`, whose order does not matter; see `trained_reference` for what it leaves in `folder`.

    Where `ref` has an adapter, that adapter is trained further, and the one left behind takes its place.
    A run that was stopped is resumed from its last complete checkpoint and gives the losses and weights of an
    undisturbed one. Under torchrun or accelerate every process calls this, and process 0 writes.
    TrainingDataError when no row has anything to train on; NonFiniteLossError when training diverges.
    """
    start = time.monotonic()
    check_goes_on(ref, config)
    processes = world_size()
    micro_batch = config.micro_batch(processes)
    tokenizer = load_tokenizer(ref)
    data = tokenize_rows(sorted(rows, key=lambda row: row.id), tokenizer, config.max_length)
    data = pack(data, config.max_length, seed) if config.packing else data
    # One process takes a smaller last micro-batch as it is; several must all have as many of the same size.
    multiple = micro_batch * processes if processes > 1 else 1
    batches = GlobalBatchSampler(data.lengths, config.global_batch_size, multiple, seed)
    steps = config.max_steps or config.epochs * batches.steps_per_epoch
    with _quiet():
        args = _arguments(ref, config, folder, seed, steps, micro_batch)
        trainer = _trainer(ref, config, data, batches, tokenizer, args, folder, callbacks)
        checkpoint = last_complete(folder / "checkpoints")
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        save_result(trainer, ref, config, folder)
    if trainer.is_world_process_zero():
        prune(folder / "checkpoints", config.keep_checkpoints)
    wait_for_all()
    return _summary(data, batches, curve(trainer.state.log_history), steps, time.monotonic() - start)


@contextmanager
def _quiet() -> Iterator[None]:
    """One progress bar, and no warnings that are for library authors."""
    had_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # TRL 1.16 still writes the name that transformers 5.23 deprecates.
            warnings.filterwarnings("ignore", ".*gradient_checkpointing.* is deprecated", FutureWarning)
            yield
    finally:
        if had_bars:
            logging.enable_progress_bar()


def _arguments(
    ref: ModelRef, config: FinetuneConfig, folder: Path, seed: int, steps: int, micro_batch: int
) -> SFTConfig:
    on_gpu = torch.cuda.is_available()
    recompute = on_gpu if config.gradient_checkpointing is None else config.gradient_checkpointing
    return SFTConfig(
        output_dir=str(folder / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=config.global_batch_size // (micro_batch * world_size()),
        learning_rate=config.learning_rate,
        lr_scheduler_type=SCHEDULERS[config.scheduler],
        warmup_steps=int(config.warmup_ratio * steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim="adamw_torch_fused",
        packing=config.packing,
        max_length=config.max_length if config.packing else None,
        dataset_kwargs={"skip_prepare_dataset": True},
        gradient_checkpointing=recompute,
        bf16=_mixed_precision(ref, config, on_gpu),
        use_cpu=not on_gpu,
        ddp_find_unused_parameters=False,
        save_strategy="steps",
        save_steps=config.save_steps,
        save_total_limit=None,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        push_to_hub=False,
        disable_tqdm=True,
        seed=seed,
        data_seed=seed,
    )


def _mixed_precision(ref: ModelRef, config: FinetuneConfig, on_gpu: bool) -> bool:
    """Automatic mixed precision, except for LoRA on CPUs: its layers round for themselves, so it would only cost."""
    return resolve_dtype(ref.dtype) == torch.bfloat16 and (on_gpu or config.method == "full")


def _trainer(
    ref: ModelRef,
    config: FinetuneConfig,
    data: TrainingData,
    batches: GlobalBatchSampler,
    tokenizer: PreTrainedTokenizerBase,
    args: SFTConfig,
    folder: Path,
    callbacks: Sequence[TrainerCallback],
) -> AssistantTrainer:
    bare, lora = replace(ref, adapter=None), None if config.lora is None else lora_config(config.lora)
    # Weights that are trained stay in float32: updates of 1e-5 are lost in bfloat16. Frozen ones need no such digits.
    model: Any = load_causal_lm(bare, dtype="float32" if config.method == "full" else None, device=torch.device("cpu"))
    # The adapters are drawn before the trainer sets its own seed.
    set_seed(args.seed)
    if ref.adapter is not None and lora is not None:
        model, lora = resumed_adapter(model, ref.adapter, lora), None
    own: list[TrainerCallback] = [FiniteGradients(), CheckpointKeeper(config.keep_checkpoints), Progress()]
    return AssistantTrainer(
        batches=batches,
        model=model,
        args=args,
        train_dataset=with_blank_row(data.dataset) if world_size() > 1 else data.dataset,
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[*own, CurveWriter(folder / "training_log.jsonl"), *callbacks],
    )


def _summary(
    data: TrainingData, batches: GlobalBatchSampler, log: list[dict[str, float]], steps: int, seconds: float
) -> FinetuneSummary:
    seen = batches.first_rows(steps)
    return FinetuneSummary(
        steps=steps,
        tokens=int(data.lengths[seen].sum()),
        trained_tokens=int(data.trained[seen].sum()),
        rows=data.rows,
        truncated_rows=data.truncated,
        untrained_rows=data.untrained,
        seconds=round(seconds, 3),
        final_loss=log[-1]["loss"],
        log=log,
    )
