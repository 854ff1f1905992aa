"""Replies of a causal language model to chat prompts: batched, and each row's own whatever rows are batched with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from siftune.finetune.chat import Message, encode_text, end_of_turn, render_prompt

POSITIONS_PER_BATCH = {"cpu": 8192, "cuda": 32768}
"""Positions of a batch by device, prompt, padding and reply counted: what the key-value cache holds at a time."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How a reply is drawn from the model; what the model's authors ship as their own settings is not looked at."""

    max_new_tokens: int = 256
    """Tokens after which a reply is cut."""
    temperature: float = 0.0
    """Divides the logits before a token is drawn; 0 takes the likeliest token."""
    top_p: float = 1.0
    """Tokens are drawn from the likeliest ones that together have at least this probability (nucleus sampling)."""
    positions_per_batch: int | None = field(default=None, metadata={"identity": False})
    """Positions of a batch, prompt, padding and reply counted: changes speed and memory, never the result (beyond
    rounding). null: 8192 on a CPU, 32768 on a GPU."""

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "positions_per_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if self.temperature < 0:
            raise ValueError(f"temperature={self.temperature} must not be negative")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p} must be above 0 and at most 1")


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
        self.room: int | None = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        """Positions that a prompt and its reply have together; None where the model sets no limit."""

    def replies(
        self,
        prompts: Sequence[Sequence[Message]],
        seeds: Sequence[int] | None = None,
        progress: Callable[[int], None] = lambda rows: None,
    ) -> list[Reply]:
        """The replies to the prompts, in their order; `progress` is told after each batch how many prompts it had.

        `seeds`, one a prompt, are needed where the temperature is above 0: a prompt and its seed make the reply, in
        float32 independently of the other prompts.
        """
        return self.generate(self.encode(prompts), seeds, progress)

    def encode(self, prompts: Sequence[Sequence[Message]]) -> list[list[int]]:
        """The prompts' tokens in the chat template, the header of the assistant's turn at the end; needs no model."""
        return [encode_text(self._tokenizer, render_prompt(self._tokenizer, prompt))["input_ids"] for prompt in prompts]

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
            found = self._batch([prompts[row] for row in batch], own_seeds)
            replies |= zip(batch, found, strict=True)
            progress(len(batch))
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
    def _batch(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[Reply]:
        width, pad = max(map(len, prompts)), int(self._tokenizer.pad_token_id)
        ids = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        own = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        processors = LogitsProcessorList()
        if self._decoding.temperature > 0:
            processors.append(_Draw(seeds, self._decoding.temperature, self._decoding.top_p))
        generated = self._model.generate(
            input_ids=ids.to(self._model.device),
            attention_mask=own.to(self._model.device),
            generation_config=self._generation_config(pad),
            logits_processor=processors,
            tokenizer=self._tokenizer,
        )
        return [self._reply(row, pad) for row in generated[:, width:].tolist()]

    def _generation_config(self, pad: int) -> GenerationConfig:
        # What is left out here would be taken from the model's own generation config.
        return GenerationConfig(
            max_new_tokens=self._decoding.max_new_tokens,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            use_cache=True,
            eos_token_id=self._ends,
            pad_token_id=pad,
            stop_strings=[self._marker] if self._marker else None,
        )

    def _reply(self, generated: list[int], pad: int) -> Reply:
        end = next((at for at, token in enumerate(generated) if token in self._ends), None)
        if end is not None:
            return Reply(self._decode(generated[:end]), end + 1, ended=True)
        while generated and generated[-1] == pad:
            generated = generated[:-1]
        # A template's end of turn that is several tokens of this vocabulary stands in the text.
        text = str(self._tokenizer.decode(generated, skip_special_tokens=False))
        ended = bool(self._marker) and self._marker in text
        before = text.partition(self._marker)[0] if ended else self._decode(generated)
        return Reply(before, len(generated), ended)

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token that ends a turn: the tokenizer's, those of the model's own generation config, the template's."""
    ends = model.generation_config.eos_token_id if model.generation_config else None
    tokens = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
    marker = tokenizer.encode(end_of_turn(tokenizer), add_special_tokens=False)
    if len(marker) == 1:
        tokens.add(marker[0])
    return sorted(token for token in tokens if token is not None)


class _Draw(LogitsProcessor):
    """Draws the next token of each row by the row's own random numbers, and leaves only that token possible."""

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float) -> None:
        self._generators = [np.random.default_rng(seed) for seed in seeds]
        self._temperature = temperature
        self._top_p = top_p

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """(B, V) scores that are -inf at all tokens but the one drawn."""
        chances, tokens = (scores.double() / self._temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
        upto = chances.cumsum(-1)
        # The tokens before which less than top_p is gathered.
        kept = (upto - chances < self._top_p).sum(-1, keepdim=True)
        total = upto.gather(1, kept - 1)
        draws = torch.tensor([[generator.random()] for generator in self._generators], device=scores.device)
        place = torch.minimum(torch.searchsorted(upto, draws.double() * total, right=True), kept - 1)
        drawn = torch.full_like(scores, -torch.inf)
        return drawn.scatter_(1, tokens.gather(1, place), 0.0)  # type: ignore[return-value]
