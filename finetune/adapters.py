"""LoRA adapters: new ones, and ones whose training goes on."""

from __future__ import annotations

from typing import Any

from peft import LoraConfig, PeftConfig, PeftModel
from transformers import PreTrainedModel

from siftune.finetune.config import FinetuneConfig, LoraSettings
from siftune.finetune.model_sources import ModelRef


def lora_config(settings: LoraSettings) -> LoraConfig:
    """The adapters that a config asks for, as peft takes them."""
    modules: Any = settings.target_modules
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
    )


def check_goes_on(ref: ModelRef, config: FinetuneConfig) -> None:
    """ValueError where `ref` has an adapter that this config cannot train further."""
    if ref.adapter is None:
        return
    if config.lora is None:
        raise ValueError(
            f"finetune.method={config.method} does not train the adapter {ref.adapter} further: use method=lora, or "
            "start from a merged model (finetune.merge=true in the training that made it)"
        )
    kept: Any = PeftConfig.from_pretrained(ref.adapter)
    wanted = (config.lora.rank, config.lora.alpha)
    if (kept.r, kept.lora_alpha) != wanted:
        raise ValueError(
            f"the adapter {ref.adapter} has rank {kept.r} and alpha {kept.lora_alpha}, and its training cannot go on "
            f"with finetune.lora.rank={wanted[0]} and finetune.lora.alpha={wanted[1]}: set them to the adapter's"
        )


def resumed_adapter(model: PreTrainedModel, adapter: str, wanted: LoraConfig) -> PeftModel:
    """The model with the adapter in the folder `adapter`, to be trained; ValueError where it is on other layers."""
    kept: Any = PeftConfig.from_pretrained(adapter)
    targets = _layers(model, wanted.target_modules)
    have = _layers(model, kept.target_modules)
    if have != targets:
        raise ValueError(
            f"the adapter {adapter} is on the layers {_named(have)}, and finetune.lora.target_modules asks for "
            f"{_named(targets)}: set it to the adapter's"
        )
    resumed: PeftModel = PeftModel.from_pretrained(model, adapter, is_trainable=True, config=wanted)
    return resumed


def _layers(model: PreTrainedModel, targets: Any) -> set[str]:
    """The names of the layers that peft gives an adapter for these targets."""
    names = {name: module for name, module in model.named_modules() if name}
    if targets == "all-linear":
        from torch import nn

        head = model.get_output_embeddings()
        return {name for name, module in names.items() if isinstance(module, nn.Linear) and module is not head}
    return {name for name in names if any(name == target or name.endswith(f".{target}") for target in targets)}


def _named(layers: set[str]) -> str:
    return ", ".join(sorted({name.rpartition(".")[2] for name in layers})) or "none"
