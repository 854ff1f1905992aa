"""Texts with stop strings: a row that has ended leaves its batch, a prefix that all share is read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedTokenizerBase

from siftune.evaluate.prefix_cache import PrefixCache
from siftune.evaluate.prefixes import WORTH, common_length
from siftune.evaluate.token_counts import TokenCounts
from siftune.finetune.generate import TokenChoice
from siftune.finetune.steps import DecodingSteps, padded

MORE = 2
"""Tokens that are looked at beside as many as a stop string has: its characters may begin inside a token."""


@dataclass(frozen=True)
class Ends:
    """Where a text ends."""

    tokens: frozenset[int]
    stops: tuple[str, ...]
    """Strings, none empty."""


class TextWriter:
    """A model in memory that goes on with prompts, token by token."""

    def __init__(
        self, model: Any, prefixes: PrefixCache, tokenizer: PreTrainedTokenizerBase, counts: TokenCounts
    ) -> None:
        self._steps = DecodingSteps(model)
        self._prefixes = prefixes
        self._tokenizer = tokenizer
        self._device = model.device
        self._counts = counts

    @torch.inference_mode()
    def write(
        self, prompts: Sequence[Sequence[int]], max_new_tokens: int, ends: Ends, choose: TokenChoice
    ) -> list[list[int]]:
        """What follows each prompt, up to and with its end; at most so many tokens."""
        texts: list[list[int]] = [[] for _ in prompts]
        lookback = self._lookback(ends.stops)
        tokens, seen, cache = self._start(prompts)
        going = list(range(len(prompts)))
        for _ in range(max_new_tokens):
            chosen = choose(self._steps.next_logits(tokens, seen, cache), going)
            for row, token in zip(going, chosen.tolist(), strict=True):
                texts[row].append(token)
            kept = [place for place, row in enumerate(going) if not self._has_ended(texts[row], ends, lookback)]
            if not kept:
                break
            if len(kept) < len(going):
                where = torch.tensor(kept, device=self._device)
                cache.batch_select_indices(where)
                seen, chosen, going = seen[where], chosen[where], [going[place] for place in kept]
            tokens, seen = chosen[:, None], torch.cat([seen, seen.new_ones(len(going), 1)], dim=1)
        return texts

    def _start(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor, DynamicCache]:
        """Tokens to be read, which of all tokens are no padding, and the cache that holds those before."""
        shared = self._shared(prompts)
        self._counts.read += sum(len(prompt) - shared for prompt in prompts)
        tokens, seen = padded([prompt[shared:] for prompt in prompts], 0, self._device)
        if not shared:
            return tokens, seen, DynamicCache(config=self._prefixes.config)
        # The padding stands between the prefix and what follows it, where attention passes it over.
        seen = torch.cat([seen.new_ones(len(prompts), shared), seen], dim=1)
        return tokens, seen, self._prefixes.after(prompts[0][:shared], len(prompts))

    def _shared(self, prompts: Sequence[Sequence[int]]) -> int:
        """Tokens that all prompts begin with, where it is worth it; each keeps one of its own."""
        if not self._prefixes.usable:
            return 0
        rows = [list(prompt) for prompt in prompts]
        # What the first and the last in order share, all between them share.
        alike = min(common_length(min(rows), max(rows)), min(map(len, rows)) - 1)
        return alike if alike >= WORTH and (len(prompts) > 1 or self._prefixes.holds(prompts[0][:alike])) else 0

    def _has_ended(self, text: list[int], ends: Ends, lookback: int) -> bool:
        if text[-1] in ends.tokens:
            return True
        if not ends.stops:
            return False
        tail = str(self._tokenizer.decode(text[-lookback:]))
        return any(stop in tail for stop in ends.stops)

    def _lookback(self, stops: Sequence[str]) -> int:
        lengths = (len(self._tokenizer.encode(stop, add_special_tokens=False)) for stop in stops)
        return max(lengths, default=0) + MORE
