"""What encoders and scorers share of running a causal language model on rows padded to one length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel


def padded(ids: Sequence[Sequence[int]], pad_id: int) -> torch.Tensor:
    """(B, T) int64 on the CPU: each row's tokens, then padding up to the longest row."""
    tokens = torch.full((len(ids), max(map(len, ids))), pad_id)
    for row, own in zip(tokens, ids, strict=True):
        row[: len(own)] = torch.tensor(own)
    return tokens


def last_hidden_states(backbone: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """(B, T, d) of (B, T) tokens padded on the right; what stands at padding means nothing."""
    # No attention mask: padding is on the right, where a causal model's own tokens never look, and without one
    # attention takes its fast path.
    hidden: torch.Tensor = backbone(input_ids=tokens, use_cache=False).last_hidden_state
    return hidden


def require_positions(model: PreTrainedModel, max_length: int, key: str, name: str) -> None:
    """ValueError where `max_length`, an option under `key`, exceeds the positions of the model called `name`."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and max_length > positions:
        raise ValueError(
            f"{key}.max_length={max_length} exceeds the {positions} positions of {name}: set it to at most {positions}"
        )


def end_at_layer(backbone: torch.nn.Module, layer: int, key: str) -> None:
    """Make `last_hidden_states` those that `output_hidden_states` counts as `layer`; what lies above is let go.

    0 are the token embeddings, k the output of the k-th block, -1 and the number of blocks the last after the final
    norm. `key` is what the option is called in messages.
    """
    config: Any = backbone.config
    count = int(config.get_text_config().num_hidden_layers)
    place = layer + count + 1 if layer < 0 else layer
    if not 0 <= place <= count:
        raise ValueError(f"{key}={layer} is not one of the model's layers: 0 to {count}, or -{count + 1} to -1")
    if place == count:
        return
    blocks = getattr(backbone, "layers", None)
    if not (isinstance(blocks, torch.nn.ModuleList) and len(blocks) == count and hasattr(backbone, "norm")):
        raise ValueError(
            f"{key}={layer}: {type(backbone).__name__} does not keep its blocks and its final norm as Llama and its "
            "like do; use -1, the last layer"
        )
    backbone.layers = blocks[:place]
    backbone.norm = torch.nn.Identity()
