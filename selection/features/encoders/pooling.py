"""From the hidden states of a row's tokens to one vector. Rows are padded on the right; padding never counts."""

from __future__ import annotations

import torch

from siftune.selection.features.encoders.encoder import Pooling


def pool(hidden: torch.Tensor, lengths: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """(B, d) float32 of (B, T, d) hidden states of any float type; row b has `lengths[b]` >= 1 tokens of its own."""
    weights = pooling_weights(lengths, hidden.shape[1], pooling)
    # Padding has weight 0, but 0 * inf is NaN: what a model makes of padding must not matter.
    own = (torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None])[..., None]
    states = hidden.float().masked_fill(~own, 0.0)
    return torch.bmm(weights[:, None, :], states)[:, 0]


def pooling_weights(lengths: torch.Tensor, width: int, pooling: Pooling) -> torch.Tensor:
    """(B, T) float32 weights that sum to 1 over each row's own tokens.

    position_weighted_mean: t / sum_t' t' for t = 1..length (RDS+, arXiv 2503.01807, section 3; SGPT).
    """
    position = torch.arange(1, width + 1, device=lengths.device, dtype=torch.float32)
    length = lengths[:, None].float()
    own = position <= length
    if pooling == "last_token":
        return (position == length).float()
    if pooling == "mean":
        return own / length
    return own * position / (length * (length + 1) / 2)
