"""How many tokens the rows of a pool have, from a sample of them: what a plan knows before anything is tokenised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from siftune.finetune.chat import ChatTemplateError, encode_text
from siftune.selection.features.encoders.sentence import text_of
from siftune.selection.features.tokens import tokenize_row
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool

SAMPLE = 256
"""Rows that are tokenised; the others' tokens follow from their characters."""

Count = Callable[[Row], tuple[int, int]]
"""Tokens of a row, and how many of them the assistant says."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of each row, exact where the row is in the sample."""

    tokens: np.ndarray
    """(n,) float64 tokens of the whole conversation."""
    responses: np.ndarray
    """(n,) float64 of them, those of the assistant's turns."""

    def cut(self, max_length: int) -> Lengths:
        """As a maximum length cuts the rows (on the right, where the last response is)."""
        tokens = np.minimum(self.tokens, max_length)
        return Lengths(tokens, np.maximum(self.responses - (self.tokens - tokens), 0.0))


def sample_lengths(pool: Pool, count: Count) -> Lengths:
    """Lengths of all rows of a pool.

    Rows are sampled evenly over the pool's order. Of the others, the tokens are a + b * characters by least squares,
    and the share of the responses is that of the sample.
    """
    size, characters = len(pool), pool.characters.astype(np.float64)
    sample = np.unique(np.linspace(0, size - 1, min(SAMPLE, size)).round().astype(np.int64))
    counted = np.array([count(pool.row(int(row))) for row in sample], dtype=np.float64).reshape(-1, 2)
    tokens = _line(characters[sample], counted[:, 0], characters)
    responses = tokens * (counted[:, 1].sum() / max(1.0, counted[:, 0].sum()))
    tokens[sample], responses[sample] = counted.T
    return Lengths(tokens, responses)


def chat_lengths(pool: Pool, tokenizer: PreTrainedTokenizerBase) -> Lengths:
    """Lengths in a chat template, uncut; of a row that the template refuses, those of its plain text."""

    def count(row: Row) -> tuple[int, int]:
        try:
            tokens = tokenize_row(tokenizer, row, max_length=2**31)
        except ChatTemplateError:
            whole, said = (encode_text(tokenizer, text) for text in (text_of(row, "conversation"), row.response()))
            return len(whole["input_ids"]), len(said["input_ids"])
        return len(tokens.input_ids), sum(tokens.assistant_mask)

    return sample_lengths(pool, count)


def _line(known: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Least squares through (known, values), through the origin where the points do not tell a slope; at least 1."""
    spread = known - known.mean()
    slope = float(spread @ values / (spread @ spread)) if spread.any() else 0.0
    if slope <= 0:
        slope = float(values.sum() / max(1.0, known.sum()))
        return np.maximum(1.0, slope * asked)
    return np.maximum(1.0, values.mean() + slope * (asked - known.mean()))
