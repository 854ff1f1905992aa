"""How many tokens every row has: for token budgets and for the length baselines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from siftune.finetune.chat import ChatTemplateError, Tokenized, tokenize
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool

PROGRESS_ROWS = 512


@dataclass(frozen=True)
class TokenSummary:
    """What counting came to."""

    rows: int
    tokens: int
    """Of whole conversations, after the cut at the maximum length."""
    response_tokens: int
    """Of what the assistant says in them."""
    truncated: int
    """Rows longer than the maximum length."""


def count_tokens(
    pool: Pool,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    max_length: int,
    progress: Progress = lambda rows: None,
) -> TokenSummary:
    """Write num_tokens.npy and num_response_tokens.npy, (n,) int64, to the folder.

    Counted in the tokenizer's chat template, as training sees the rows: tokens beyond `max_length` are not counted.
    """
    counts = np.zeros((2, len(pool)), dtype=np.int64)
    truncated = 0
    for i, row in enumerate(pool.rows(range(len(pool)))):
        tokens = tokenize_row(tokenizer, row, max_length)
        counts[:, i] = len(tokens.input_ids), sum(tokens.assistant_mask)
        truncated += tokens.truncated
        if (i + 1) % PROGRESS_ROWS == 0 or i + 1 == len(pool):
            progress(i % PROGRESS_ROWS + 1)
    np.save(folder / "num_tokens.npy", counts[0])
    np.save(folder / "num_response_tokens.npy", counts[1])
    return TokenSummary(len(pool), int(counts[0].sum()), int(counts[1].sum()), truncated)


def tokenize_row(tokenizer: PreTrainedTokenizerBase, row: Row, max_length: int) -> Tokenized:
    """The row's tokens, cut to `max_length`, and which the assistant says; an error of the template names the row."""
    try:
        return tokenize(tokenizer, row.messages, max_length)
    except ChatTemplateError as error:
        raise ChatTemplateError(f"row {row.id} ({row.source}): {error}") from error
