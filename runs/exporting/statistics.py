"""What a card says of the rows of a subset: lengths, turns, licences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from transformers import PreTrainedTokenizerBase

from siftune.finetune.chat import ChatTemplateError
from siftune.selection.features.tokens import tokenize_row
from siftune.selection.pool.licences import by_source, licence_of
from siftune.selection.pool.subset import Pick


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of the rows as picked."""

    rows: int
    licences: list[tuple[str, str | None, int]]
    """(source, licence as the rows have it, rows)."""
    lengths: Mapping[str, np.ndarray]
    """What is counted -> (k,) float64, one value a row: turns, characters and words; tokens where a tokenizer is at
    hand."""
    truncated: int = 0
    """Rows longer than the maximum length, beyond which tokens are not counted."""
    tokens_of: str | None = None
    """The model whose tokens they are."""
    no_tokens: str | None = None
    """Why no tokens are counted."""


@dataclass
class TokenCounter:
    """Counts a row's tokens as training sees them."""

    name: str
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    truncated: int = 0
    counts: list[tuple[int, int]] = field(default_factory=list)

    def add(self, pick: Pick) -> None:
        """Count another row."""
        tokens = tokenize_row(self.tokenizer, pick.row, self.max_length)
        self.counts.append((len(tokens.input_ids), sum(tokens.assistant_mask)))
        self.truncated += tokens.truncated


def statistics_of(picks: Iterable[Pick], license_column: str, counter: TokenCounter | None) -> Statistics:
    """Read the rows once."""
    licences, sizes, failure = [], [], None
    for pick in picks:
        licences.append((pick.row.source, licence_of(pick.row.extra, license_column)))
        texts = [str(turn.get("content") or "") for turn in pick.row.messages]
        sizes.append((len(texts), sum(map(len, texts)), sum(len(text.split()) for text in texts)))
        if counter is not None and failure is None:
            try:
                counter.add(pick)
            except ChatTemplateError as error:
                failure = str(error)
    columns = np.array(sizes, dtype=np.float64).reshape(-1, 3).T
    lengths = {"turns": columns[0], "characters": columns[1], "words": columns[2]}
    counted = counter is not None and failure is None
    if counter is not None and counted:
        tokens = np.array(counter.counts, dtype=np.float64).reshape(-1, 2).T
        lengths |= {"tokens": tokens[0], "tokens the assistant says": tokens[1]}
    return Statistics(
        rows=len(sizes),
        licences=by_source(licences),
        lengths=lengths,
        truncated=counter.truncated if counter is not None and counted else 0,
        tokens_of=counter.name if counter is not None and counted else None,
        no_tokens=failure or (None if counted else "the model's tokenizer is not at hand"),
    )
