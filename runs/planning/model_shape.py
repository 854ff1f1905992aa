"""The sizes of a model, from its config alone: no weight is read."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModel, AutoModelForCausalLM

from siftune.runs.cost import ModelShape


def causal_shape(config: Any, weight_bytes: int) -> ModelShape:
    """The shape of the causal language model of a transformers config."""
    return _shape(_on_meta(AutoModelForCausalLM, config), weight_bytes)


def encoder_shape(config: Any, weight_bytes: int) -> ModelShape:
    """The shape of a model without a language-model head, e.g. a sentence encoder's."""
    return _shape(_on_meta(AutoModel, config), weight_bytes)


def _on_meta(auto: Any, config: Any) -> Any:
    with torch.device("meta"):
        return auto.from_config(config)


def _shape(model: Any, weight_bytes: int) -> ModelShape:
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    head_weight = None if head is None else head.weight
    tied = head_weight is not None and bool(getattr(model.config, "tie_word_embeddings", False))
    body = (weight for weight in model.parameters() if weight is not embedding and weight is not head_weight)
    text = model.config.get_text_config()
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head]
    return ModelShape(
        body=sum(weight.numel() for weight in body),
        embedding=embedding.numel(),
        head=0 if head_weight is None else head_weight.numel(),
        tied=tied,
        hidden_size=int(text.hidden_size),
        num_layers=int(text.num_hidden_layers),
        linear_width=sum(module.in_features + module.out_features for module in linear),
        weight_bytes=weight_bytes,
    )
