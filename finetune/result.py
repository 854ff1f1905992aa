"""What fine-tuning leaves behind: an adapter, or a whole model in the number format that it will be used in."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from siftune.finetune.checkpoints import wait_for_all
from siftune.finetune.config import FinetuneConfig
from siftune.finetune.model import load_causal_lm, resolve_dtype
from siftune.finetune.model_sources import ADAPTER, MODEL, ModelRef
from siftune.finetune.trainer import AssistantTrainer

LEFTOVERS = ("training_args.bin", "README.md")
"""Files that libraries add and nobody reads: a pickle, and a model card that knows nothing of the run."""


def save_result(trainer: AssistantTrainer, ref: ModelRef, config: FinetuneConfig, folder: Path) -> None:
    """Write `folder`/adapter, or `folder`/model for full fine-tuning and merged adapters, with the tokenizer."""
    target = folder / (ADAPTER if config.method == "lora" else MODEL)
    if trainer.is_world_process_zero():
        shutil.rmtree(target, ignore_errors=True)
    wait_for_all()
    # All processes take part: sharded weights are gathered here.
    trainer.save_model(str(target))
    wait_for_all()
    if trainer.is_world_process_zero():
        for name in LEFTOVERS:
            (target / name).unlink(missing_ok=True)
        if config.method == "full":
            convert_weights(target, resolve_dtype(ref.dtype))
        if config.merge:
            merge_adapter(ref, target, folder / MODEL)
            shutil.rmtree(target)
    wait_for_all()


def merge_adapter(ref: ModelRef, adapter: Path, target: Path) -> None:
    """Write the base model with the adapter's update added into its weights.

    The update is added in float32 and rounded once; a sharded training run cannot merge in place.
    """
    with_adapter = dataclasses.replace(ref, adapter=str(adapter))
    peft_model: Any = load_causal_lm(with_adapter, dtype="float32", device=torch.device("cpu"))
    model = peft_model.merge_and_unload()
    model.to(resolve_dtype(ref.dtype)).save_pretrained(target)
    for path in adapter.iterdir():
        if path.name not in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copy2(path, target)


def convert_weights(folder: Path, dtype: torch.dtype) -> None:
    """Round the floating-point tensors of a saved model to `dtype`, file by file."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        tensors = {name: value.to(dtype) if value.is_floating_point() else value for name, value in tensors.items()}
        temporary = path.with_suffix(".tmp")
        save_file(tensors, temporary, metadata)
        temporary.replace(path)
    config = folder / "config.json"
    content = json.loads(config.read_text(encoding="utf-8")) | {"dtype": str(dtype).removeprefix("torch.")}
    config.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
