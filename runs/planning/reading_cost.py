"""What goes through a model when the rows of a pool are read: how many tokens, and how many of them are predicted."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from siftune.runs.cost import Cost, ModelShape, Work, forward_flops, forward_memory, plain_flops
from siftune.runs.planning.lengths import Lengths, sample_lengths
from siftune.selection.features.batching import default_budget
from siftune.selection.features.encoders.sentence import SentenceEncoder, text_of
from siftune.selection.features.scorers.losses import LossScorer
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool

CHARACTERS_PER_TOKEN = 4
"""Of English, where the tokenizer is not at hand."""
UNCUT = 2**31
LOGITS = 2**25
"""At the most that a loss scorer computes at a time."""
REMEDY = "a smaller tokens_per_batch or max_length, or a smaller model"


def model_pass(config: Any, shape: ModelShape, uncut: Lengths, device: str) -> Cost:
    """A forward pass of a causal language model over the rows, as the encoder's, scorer's or tagger's config has it.

    Of it are read, where it has them: `max_length`, `text`, `hidden_layer`, `tokens_per_batch`, `max_new_tokens`.
    """
    lengths = uncut.cut(getattr(config, "max_length", None) or UNCUT)
    tokens, predicted = _read_and_predicted(config, lengths)
    written = len(lengths.tokens) * (getattr(config, "max_new_tokens", None) or 0)
    positions = max(getattr(config, "tokens_per_batch", None) or default_budget(device), int(lengths.tokens.max()))
    flops: dict[Work, float] = {"forward": _depth(config, shape) * forward_flops(shape, tokens, predicted)}
    if written:
        flops["generation"] = forward_flops(shape, written, written)
    return Cost(
        rows=len(lengths.tokens),
        tokens=int(tokens + written),
        flops=flops,
        formula_flops=plain_flops(shape, tokens + written),
        memory=forward_memory(shape, positions, LOGITS if predicted else 0),
        remedy=REMEDY,
    )


def _depth(config: Any, shape: ModelShape) -> float:
    """Share of the layers that are computed: those up to the hidden layer that is read."""
    layer = getattr(config, "hidden_layer", -1)
    return (layer if layer >= 0 else shape.num_layers + 1 + layer) / shape.num_layers


def _read_and_predicted(config: Any, lengths: Lengths) -> tuple[float, float]:
    whole, said = float(lengths.tokens.sum()), float(lengths.responses.sum())
    if isinstance(config, LossScorer):
        from siftune.selection.features.scorers.token_losses import NEEDS

        means = {mean for score in config.provides for mean in NEEDS[score]}
        predicted = max([0.0, *({"given": said, "text": whole}[mean] for mean in means - {"alone"})])
        alone = said if "alone" in means else 0.0
        return (whole if means - {"alone"} else 0.0) + alone, predicted + alone
    part = {"prompt": whole - said, "response": said}
    return part.get(getattr(config, "text", "conversation"), whole), 0.0


def sentence_pass(config: SentenceEncoder, pool: Pool, device: str) -> tuple[Cost, int]:
    """A pass of a sentence encoder, and the width of its vectors."""
    shape, tokenizer, limit = _sentence_model(config)

    def count(row: Row) -> tuple[int, int]:
        return len(tokenizer(text_of(row, config.text), verbose=False)["input_ids"]), 0

    lengths = sample_lengths(pool, count).cut(config.max_length or limit)
    tokens = float(lengths.tokens.sum())
    positions = max(config.tokens_per_batch or default_budget(device), int(lengths.tokens.max()))
    pass_ = Cost(
        rows=len(pool),
        tokens=int(tokens),
        flops={"forward": forward_flops(shape, tokens)},
        formula_flops=plain_flops(shape, tokens),
        memory=forward_memory(shape, positions),
        remedy=REMEDY,
    )
    return pass_, shape.hidden_size


def tags_pass(config: Any, shape: ModelShape | None, rows: int, tokens: int) -> Cost:
    """Names of tags that were encoded, by the tokens that they had; `shape` is the causal model's, where it is one."""
    if isinstance(config, SentenceEncoder):
        sizes = _sentence_model(config)[0]
        flops: dict[Work, float] = {"forward": forward_flops(sizes, tokens)}
        return Cost(rows=rows, tokens=tokens, flops=flops, formula_flops=plain_flops(sizes, tokens))
    if shape is None:
        return Cost(rows=rows, tokens=tokens or None)
    flops = {"forward": _depth(config, shape) * forward_flops(shape, tokens)}
    return Cost(rows=rows, tokens=tokens, flops=flops, formula_flops=plain_flops(shape, tokens))


@cache
def _sentence_model(config: SentenceEncoder) -> tuple[ModelShape, Any, int]:
    """Its sizes, its tokenizer and the tokens at which it cuts."""
    from transformers import AutoConfig, AutoTokenizer

    from siftune.finetune.model import explained, resolve_dtype
    from siftune.runs.planning.model_shape import encoder_shape

    path = config.location()
    with explained(path):
        sizes = AutoConfig.from_pretrained(path, revision=config.revision)
        tokenizer = AutoTokenizer.from_pretrained(path, revision=config.revision)
    shape = encoder_shape(sizes, resolve_dtype(config.dtype).itemsize)
    return shape, tokenizer, min(int(tokenizer.model_max_length), UNCUT)


def endpoint_pass(config: Any, pool: Pool) -> Cost:
    """The rows sent to an endpoint, each in the template or after the prefix of the config: tokens by characters."""
    longest = getattr(config, "max_characters", None) or UNCUT
    around = len(getattr(config, "template", None) or getattr(config, "prompt", None) or "")
    read = float((np.minimum(pool.characters, longest) + around).sum()) / CHARACTERS_PER_TOKEN
    written = float(len(pool) * (getattr(config, "max_tokens", None) or 0))
    return Cost(rows=len(pool), tokens=int(read + written), usd=config.endpoint.usd(read, written))
