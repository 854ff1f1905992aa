"""Replies of a causal language model to chat prompts: batched, and each row's own whatever rows are batched with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from siftune.finetune.chat import Message, encode_prompts, end_of_turn
from siftune.finetune.decoding import Decoding
from siftune.finetune.steps import DecodingSteps, padded

POSITIONS_PER_BATCH = {"cpu": 8192, "cuda": 32768}
"""Positions of a batch by device, prompt, padding and reply counted: what the key-value cache holds at a time."""


@dataclass(frozen=True)
class Reply:
    """What the model answered to one prompt."""

    text: str
    """Without the end of the turn."""
    tokens: int
    """Generated, the end of the turn included."""
    ended: bool
    """Whether the model ended its turn by itself; else the reply was cut at max_new_tokens."""


class ReplyGenerator:
    """A loaded model that answers prompts; `encode` and `generate` are `replies` in two stages."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, decoding: Decoding) -> None:
        # A PreTrainedModel does not tell type checkers that it can generate.
        self._model: Any = model
        self._tokenizer = tokenizer
        self._decoding = decoding
        self._positions = decoding.positions_per_batch or POSITIONS_PER_BATCH[model.device.type]
        self._ends = end_tokens(model, tokenizer)
        self._marker = end_of_turn(tokenizer)
        self._steps = DecodingSteps(self._model)
        self.room: int | None = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        """Positions that a prompt and its reply have together; None where the model sets no limit."""

    def replies(
        self,
        prompts: Sequence[Sequence[Message]],
        seeds: Sequence[int] | None = None,
        progress: Callable[[int], None] = lambda rows: None,
    ) -> list[Reply]:
        """The replies to the prompts, in their order; `progress` is told whenever some have ended.

        `seeds`, one a prompt, are needed where the temperature is above 0: a prompt and its seed make the reply, in
        float32 independently of the other prompts.
        """
        return self.generate(self.encode(prompts), seeds, progress)

    def encode(self, prompts: Sequence[Sequence[Message]]) -> list[list[int]]:
        """The prompts' tokens in the chat template, the header of the assistant's turn at the end; needs no model."""
        return encode_prompts(self._tokenizer, prompts)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int] | None = None,
        progress: Callable[[int], None] = lambda rows: None,
    ) -> list[Reply]:
        """The replies to encoded prompts; ValueError where a prompt leaves the model no room for its reply."""
        assert seeds is not None or self._decoding.temperature == 0, "a drawn reply needs a seed"
        self._check_lengths(prompts)
        replies: dict[int, Reply] = {}
        for batch in self._batches([len(prompt) for prompt in prompts]):
            own_seeds = [0 if seeds is None else seeds[row] for row in batch]
            found = self._batch([prompts[row] for row in batch], own_seeds, progress)
            replies |= zip(batch, found, strict=True)
        return [replies[row] for row in range(len(prompts))]

    def _check_lengths(self, prompts: Sequence[Sequence[int]]) -> None:
        longest = max(map(len, prompts), default=0)
        if self.room is not None and longest + self._decoding.max_new_tokens > self.room:
            raise ValueError(
                f"a prompt of {longest:,} tokens and a reply of max_new_tokens={self._decoding.max_new_tokens:,} do "
                f"not fit into the {self.room:,} positions of {self._model.name_or_path}: shorten one of them"
            )

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Rows of like length together, longest first: a lack of memory shows at once."""
        # Unlike in a forward pass, padding costs little here: a step takes about as long for one row as for many.
        order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist()
        batches, start = [], 0
        while start < len(order):
            size = max(1, self._positions // (lengths[order[start]] + self._decoding.max_new_tokens))
            batches.append(order[start : start + size])
            start += size
        return batches

    @torch.inference_mode()
    def _batch(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], progress: Callable[[int], None]
    ) -> list[Reply]:
        choose = TokenChoice(seeds, self._decoding.temperature, self._decoding.top_p)
        said: list[list[int]] = [[] for _ in prompts]
        going, cache = list(range(len(prompts))), DynamicCache(config=self._model.config)
        tokens, seen = padded(prompts, int(self._tokenizer.pad_token_id), self._model.device)
        for _ in range(self._decoding.max_new_tokens):
            chosen = choose(self._steps.next_logits(tokens, seen, cache), going)
            for row, token in zip(going, chosen.tolist(), strict=True):
                said[row].append(token)
            kept = [place for place, row in enumerate(going) if not self._has_ended(said[row])]
            if not kept:
                break
            if len(kept) < len(going):
                progress(len(going) - len(kept))
                # Nothing more is computed of a reply that has ended.
                where = torch.tensor(kept, device=tokens.device)
                cache.batch_select_indices(where)
                seen, chosen, going = seen[where], chosen[where], [going[place] for place in kept]
            tokens, seen = chosen[:, None], torch.cat([seen, seen.new_ones(len(going), 1)], dim=1)
        progress(len(going))
        return [self._reply(row) for row in said]

    def _has_ended(self, said: list[int]) -> bool:
        if said[-1] in self._ends:
            return True
        # A template's end of turn that is several tokens of this vocabulary: no more of them than it has characters.
        return bool(self._marker) and self._marker in self._text(said[-len(self._marker) :])

    def _reply(self, said: list[int]) -> Reply:
        if said[-1] in self._ends:
            return Reply(self._decode(said[:-1]), len(said), ended=True)
        before, marker, _ = self._text(said).partition(self._marker) if self._marker else ("", "", "")
        return Reply(before if marker else self._decode(said), len(said), ended=bool(marker))

    def _text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=False))

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token that ends a turn: the tokenizer's, those of the model's own generation config, the template's."""
    ends = model.generation_config.eos_token_id if model.generation_config else None
    tokens = {*turn_ends(tokenizer).tokens, *(ends if isinstance(ends, list) else [ends])}
    return sorted(token for token in tokens if token is not None)


class TurnEnds(NamedTuple):
    """What a tokenizer and its chat template end a turn with."""

    tokens: list[int]
    strings: list[str]
    """The template's marker where it is several tokens of the vocabulary; else none."""


def turn_ends(tokenizer: PreTrainedTokenizerBase) -> TurnEnds:
    """The end of a text, and the template's end of turn."""
    text = end_of_turn(tokenizer)
    marker = tokenizer.encode(text, add_special_tokens=False)
    tokens = {tokenizer.eos_token_id, *(marker if len(marker) == 1 else [])} - {None}
    return TurnEnds(sorted(tokens), [text] if len(marker) > 1 else [])


class TokenChoice:
    """The next token of each row: the likeliest, or one drawn by the row's own random numbers."""

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float) -> None:
        """seeds: one a row; none are needed at temperature 0. top_p: see `Decoding`."""
        self._generators = [np.random.default_rng(seed) for seed in seeds]
        self._temperature = temperature
        self._top_p = top_p

    def __call__(self, logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """(B,) tokens by (B, V) logits, which are those of these rows."""
        if self._temperature == 0:
            return logits.argmax(-1)
        chances, tokens = (logits.double() / self._temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
        upto = chances.cumsum(-1)
        # The tokens before which less than top_p is gathered.
        kept = (upto - chances < self._top_p).sum(-1, keepdim=True)
        total = upto.gather(1, kept - 1)
        draws = torch.tensor([[self._generators[row].random()] for row in rows], device=logits.device)
        place = torch.minimum(torch.searchsorted(upto, draws.double() * total, right=True), kept - 1)
        return tokens.gather(1, place)[:, 0]
