"""Hidden states of a causal language model, pooled: the part of the encoder that runs the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from siftune.finetune.chat import encode_text, render_prompt, render_text
from siftune.selection.features.batching import padded_positions, plan_batches
from siftune.selection.features.encoders.encoder import EncodedBlock, Pooling, Progress, Text
from siftune.selection.features.encoders.pooling import pool
from siftune.selection.features.forward import last_hidden_states, padded
from siftune.selection.features.side_by_side import side_by_side
from siftune.selection.pool.rows import Message, Row


@dataclass(frozen=True)
class PreparedRows:
    """Rows as tokens, and what goes through the model together."""

    ids: Sequence[Sequence[int]]
    """Of each row, cut to the maximum length."""
    batches: Sequence[np.ndarray]
    truncated: int
    """Rows that were cut."""


class HiddenStateEncoder:
    """A loaded backbone (no language-model head) and its tokenizer."""

    def __init__(
        self,
        backbone: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        pooling: Pooling,
        text: Text,
        instruction: str,
        max_length: int,
        tokens_per_batch: int,
    ) -> None:
        self.dimension = int(backbone.config.get_text_config().hidden_size)
        self._backbone = backbone
        self._tokenizer = tokenizer
        self._pooling: Pooling = pooling
        self._text: Text = text
        self._instruction = instruction
        self._max_length = max_length
        self._tokens_per_batch = tokens_per_batch

    def encode(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> EncodedBlock:
        """(n, d) vectors; rows are sorted by length and computed in batches of at most tokens_per_batch positions."""
        return self.encode_prepared(self.prepare(rows), progress)

    def prepare(self, rows: Sequence[Row]) -> PreparedRows:
        """The rows' tokens and batches, made without the model."""
        full = [self.token_ids(row) for row in rows]
        ids = [tokens[: self._max_length] for tokens in full]
        batches = plan_batches([len(tokens) for tokens in ids], self._tokens_per_batch)
        return PreparedRows(ids, batches, truncated=sum(len(tokens) > self._max_length for tokens in full))

    def encode_prepared(self, prepared: PreparedRows, progress: Progress = lambda rows: None) -> EncodedBlock:
        """The vectors of what `prepare` made."""
        ids = prepared.ids
        vectors = np.empty((len(ids), self.dimension), dtype=np.float32)
        members = [[ids[i] for i in batch] for batch in prepared.batches]
        pooled = side_by_side(self._pooled, members, self._backbone.device)
        for batch, found in zip(prepared.batches, pooled, strict=True):
            vectors[batch] = found
            progress(len(batch))
        lengths = [len(tokens) for tokens in ids]
        return EncodedBlock(vectors, prepared.truncated, sum(lengths), padded_positions(lengths, prepared.batches))

    def token_ids(self, row: Row) -> list[int]:
        """The row's tokens, not yet cut; ValueError for a row without any."""
        ids: list[int] = encode_text(self._tokenizer, self._text_of(row))["input_ids"]
        if not ids:
            raise ValueError(f"row {row.id} ({row.source}) has no token to encode with encoder.text={self._text}")
        return ids

    def _text_of(self, row: Row) -> str:
        if self._text == "conversation":
            return render_text(self._tokenizer, self._instructed(row.messages))
        if self._text == "prompt":
            before = row.prompt_messages()
            if not before:
                raise ValueError(f"row {row.id} ({row.source}) has no turn before its answer: encoder.text=prompt")
            return render_prompt(self._tokenizer, self._instructed(before))
        return self._instruction + row.response()

    def _instructed(self, messages: Sequence[Message]) -> list[Message]:
        """The turns with the instruction in front of what the first of them says, inside the template."""
        if not self._instruction:
            return list(messages)
        told = [message | {"content": self._instruction + message["content"]} for message in messages[:1]]
        return [*told, *messages[1:]]

    @torch.inference_mode()
    def _pooled(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        lengths = torch.tensor([len(tokens) for tokens in ids])
        device = self._backbone.device
        tokens = padded(ids, int(self._tokenizer.pad_token_id)).to(device)
        hidden = last_hidden_states(self._backbone, tokens)
        pooled = pool(hidden, lengths.to(device), self._pooling)
        return np.asarray(pooled.cpu())
