"""A causal language model's losses on the tokens of rows: the part of the loss scorer that runs the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from siftune.finetune.chat import Tokenized, encode_text, render_prompt, render_text
from siftune.finetune.cpu_head import supports
from siftune.selection.features.batching import padded_positions, plan_batches
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.forward import last_hidden_states, padded
from siftune.selection.features.scorers.scorer import ScoredBlock
from siftune.selection.features.side_by_side import side_by_side
from siftune.selection.features.tokens import tokenize_row
from siftune.selection.pool.rows import Row

LOGITS = 2**25
"""Logits that exist at the same time, in the model's number format."""

SOFTMAX_LOGITS = {"cpu": 2**20, "cuda": LOGITS}
"""Of these, as many are taken through the float32 softmax at a time: on a CPU, what its caches hold."""

NEEDS = {
    "perplexity": ("given",),
    "text_perplexity": ("text",),
    "response_perplexity": ("alone",),
    "ifd": ("given", "alone"),
    "ifd_loss": ("given", "alone"),
}
"""Score -> the mean losses it is made of: of the responses given the prompt, of the text, of the responses alone."""

NO_RESPONSE = "no response token within max_length"
NOT_FINITE = "the model gives no finite loss"


@dataclass(frozen=True)
class Passage:
    """Tokens that go through the model together, and the mean losses wanted of them."""

    row: int
    ids: np.ndarray
    """(t,) int64."""
    scored: np.ndarray
    """(s,) int64 positions, from 1, of the tokens whose loss is computed."""
    parts: Mapping[str, np.ndarray]
    """Name of a mean -> (s,) bool, the scored tokens it is taken over; none is empty."""


@dataclass(frozen=True)
class PreparedRows:
    """Rows as tokens, and what goes through the model together."""

    tokenized: Sequence[Tokenized]
    passages: Sequence[Passage]
    batches: Sequence[np.ndarray]
    """Of passages."""


class OpenLossScorer:
    """A loaded language model and its tokenizer."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        scores: Sequence[str],
        max_length: int,
        tokens_per_batch: int,
    ) -> None:
        self.provides = tuple(scores)
        self._model = model
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._tokens_per_batch = tokens_per_batch
        self._wanted = {mean for score in scores for mean in NEEDS[score]}
        self._header = _header(tokenizer)
        bos = tokenizer.bos_token_id
        # Some tokenizers call the token that begins every turn their BOS; it is in the header then.
        self._bos = None if self._header[:1] == [bos] else bos

    def score(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> ScoredBlock:
        """Scores of the rows; both passes of all rows are sorted by length and batched together."""
        return self.score_prepared(self.prepare(rows), progress)

    def prepare(self, rows: Sequence[Row]) -> PreparedRows:
        """The rows' tokens, passages and batches, made without the model."""
        tokenized = [tokenize_row(self._tokenizer, row, self._max_length) for row in rows]
        passages = [passage for row, tokens in enumerate(tokenized) for passage in self._passages(row, tokens)]
        batches = plan_batches([len(passage.ids) for passage in passages], self._tokens_per_batch)
        return PreparedRows(tokenized, passages, batches)

    def score_prepared(self, prepared: PreparedRows, progress: Progress = lambda rows: None) -> ScoredBlock:
        """The scores of what `prepare` made."""
        tokenized, passages = prepared.tokenized, prepared.passages
        means = {name: np.full(len(tokenized), np.nan) for name in ("given", "text", "alone")}
        waiting = np.bincount([passage.row for passage in passages], minlength=len(tokenized))
        done = int((waiting == 0).sum())
        batches = [[passages[i] for i in batch] for batch in prepared.batches]
        computed = side_by_side(self._losses, batches, self._model.device)
        for members, found in zip(batches, computed, strict=True):
            for passage, losses in zip(members, found, strict=True):
                for name, part in passage.parts.items():
                    means[name][passage.row] = losses[part].mean()
                waiting[passage.row] -= 1
                done += int(waiting[passage.row] == 0)
            progress(done)
            done = 0
        if done:
            progress(done)
        values = self._values(means)
        missing = np.flatnonzero(np.isnan(values).any(axis=1)).tolist()
        lengths = [len(passage.ids) for passage in passages]
        return ScoredBlock(
            values=values,
            reasons={row: self._reason(tokenized[row]) for row in missing},
            truncated=sum(tokens.truncated for tokens in tokenized),
            tokens=sum(lengths),
            positions=padded_positions(lengths, prepared.batches),
        )

    def _passages(self, row: int, tokens: Tokenized) -> list[Passage]:
        """What goes through the model for one row: the conversation, the responses alone, or both."""
        ids, said = np.array(tokens.input_ids, dtype=np.int64), np.array(tokens.assistant_mask, dtype=bool)
        found = []
        if self._wanted & {"given", "text"}:
            everything = "text" in self._wanted
            scored = 1 + np.flatnonzero(np.full(len(ids) - 1, True) if everything else said[1:])
            parts = {"given": said[scored], "text": np.full(len(scored), True)}
            found.append(Passage(row, ids, scored, self._asked(parts)))
        if "alone" in self._wanted:
            ids, said = self._responses_alone(ids, said)
            scored = 1 + np.flatnonzero(said[1:])
            found.append(Passage(row, ids, scored, self._asked({"alone": np.full(len(scored), True)})))
        return [passage for passage in found if passage.parts]

    def _asked(self, parts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: part for name, part in parts.items() if name in self._wanted and part.any()}

    def _responses_alone(self, ids: np.ndarray, said: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of the responses, each after the template's header, and which of them are said.

        They are the conversation's own tokens, so that both losses of a row are means over the same ones. A template
        without a header leaves the first of them nothing to be predicted from: there, BOS (or EOS) goes before it.
        """
        kept = said.copy()
        for start in 1 + np.flatnonzero(said[1:] & ~said[:-1]):
            kept[max(0, start - len(self._header)) : start] = True
        if ids[0] == self._bos:
            kept[0] = True
        own, own_said = ids[kept], said[kept]
        opening = self._tokenizer.eos_token_id if self._bos is None else self._bos
        if len(own) and own_said[0] and not said[0] and opening is not None:
            return np.append(opening, own), np.append(False, own_said)
        return own, own_said

    @torch.inference_mode()
    def _losses(self, passages: Sequence[Passage]) -> list[np.ndarray]:
        """For each passage the (s,) float64 losses, in nats, of its scored tokens."""
        tokens = padded([passage.ids.tolist() for passage in passages], int(self._tokenizer.pad_token_id))
        counts = [len(passage.scored) for passage in passages]
        rows = torch.repeat_interleave(torch.arange(len(passages)), torch.tensor(counts))
        columns = torch.from_numpy(np.concatenate([passage.scored for passage in passages]))
        targets, device = tokens[rows, columns], self._model.device
        losses = self._scored_losses(tokens.to(device), rows.to(device), columns.to(device) - 1, targets.to(device))
        return np.split(losses, np.cumsum(counts)[:-1])

    def _scored_losses(
        self, tokens: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, targets: torch.Tensor
    ) -> np.ndarray:
        """(m,) float64: what the model at tokens[rows, columns] loses on `targets`."""
        if not supports(self._model):
            # Its logits are more than a product with the head: the model computes them itself, at every position.
            return _losses_of(self._model(input_ids=tokens, use_cache=False).logits[rows, columns], targets)
        states = last_hidden_states(self._model.base_model, tokens)[rows, columns]
        head = self._model.get_output_embeddings()
        block = max(1, LOGITS // head.weight.shape[0])
        parts = zip(states.split(block), targets.split(block), strict=True)
        return np.concatenate([_losses_of(head(part), wanted) for part, wanted in parts])

    def _values(self, means: Mapping[str, np.ndarray]) -> np.ndarray:
        given, alone = means["given"], means["alone"]
        # A loss too large for its exponential, or of exactly zero alone, gives no value; the row's reason says so.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            scores = {
                "perplexity": np.exp(given),
                "text_perplexity": np.exp(means["text"]),
                "response_perplexity": np.exp(alone),
                "ifd": np.exp(given - alone),
                "ifd_loss": given / alone,
            }
        values = np.stack([scores[name] for name in self.provides], axis=1)
        return np.where(np.isfinite(values), values, np.nan)

    def _reason(self, tokens: Tokenized) -> str:
        without_response = self._wanted != {"text"} and not any(tokens.assistant_mask[1:])
        return NO_RESPONSE if without_response else NOT_FINITE


def _losses_of(logits: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """(m,) float64 of (m, V) logits of any float type: -log softmax at the target, taken in float32."""
    block = max(1, SOFTMAX_LOGITS[logits.device.type] // logits.shape[1])
    losses = [
        -part.float().log_softmax(-1).gather(1, wanted[:, None])[:, 0]
        for part, wanted in zip(logits.split(block), targets.split(block), strict=True)
    ]
    return np.asarray(torch.cat(losses).cpu(), dtype=np.float64)


def _header(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the chat template writes before what the assistant says."""
    turn = [{"role": "user", "content": "x"}]
    before, prompt = (
        encode_text(tokenizer, text)["input_ids"]
        for text in (render_text(tokenizer, turn), render_prompt(tokenizer, turn))
    )
    header: list[int] = prompt[len(before) :]
    return header
