"""Log-probabilities of given tokens: batched by length, prefixes that many sequences share computed once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from siftune.evaluate.batch_size import scored_rows
from siftune.evaluate.prefix_cache import PrefixCache
from siftune.evaluate.prefixes import Group, shared_prefixes
from siftune.evaluate.scored import Inputs, Scored
from siftune.evaluate.token_counts import TokenCounts


class TokenScorer:
    """A causal language model (a transformers model, its adapters inside it) that scores tokens.

    Logits are computed at the scored positions alone, and the softmax in float32."""

    def __init__(self, model: Any, prefixes: PrefixCache, batch_size: int | None, counts: TokenCounts) -> None:
        self._model = model
        self._prefixes = prefixes
        self._batch_size = batch_size
        self._counts = counts
        self._selects_positions = "logits_to_keep" in inspect.signature(model.forward).parameters

    @torch.inference_mode()
    def score(self, requests: Sequence[Scored], progress: Callable[[int], None]) -> list[tuple[list[float], bool]]:
        """For each request the log-probabilities of its targets, and whether each target is the likeliest token.

        Requests with the same inputs (choices of one token) share a forward pass, those with a common beginning its
        keys and values. Longest first, so that batches hold little padding and a lack of memory shows at once.
        """
        sharing: dict[Inputs, list[tuple[int, Scored]]] = {}
        for index, request in enumerate(requests):
            sharing.setdefault(request.inputs, []).append((index, request))
        results: dict[int, tuple[list[float], bool]] = {}
        for prefix, batch in self._batches(sharing):
            found = self._score_batch(batch, [sharing[inputs] for inputs in batch], prefix)
            results |= found
            progress(len(found))
        return [results[index] for index in range(len(requests))]

    def _batches(self, sharing: dict[Inputs, list[tuple[int, Scored]]]) -> Iterator[tuple[int, list[Inputs]]]:
        """(tokens of the shared prefix, inputs) of each forward pass."""
        ordered = sorted(sharing, key=lambda inputs: (-len(inputs), inputs))
        for group in self._groups(ordered, sharing):
            members = [ordered[place] for place in sorted(group.members)]
            while members:
                rows = scored_rows(self._batch_size, len(members[0]) - group.length, self._model.device.type)
                yield group.length, members[:rows]
                members = members[rows:]

    def _groups(self, ordered: list[Inputs], sharing: dict[Inputs, list[tuple[int, Scored]]]) -> list[Group]:
        if not self._prefixes.usable:
            return [Group(0, tuple(range(len(ordered))))]
        # What is scored has to be computed for itself.
        firsts = (
            min((at for _, request in sharing[inputs] for at in request.positions), default=len(inputs) - 1)
            for inputs in ordered
        )
        return shared_prefixes([inputs[:first] for inputs, first in zip(ordered, firsts, strict=True)])

    def _score_batch(
        self, batch: list[Inputs], members: list[list[tuple[int, Scored]]], prefix: int
    ) -> dict[int, tuple[list[float], bool]]:
        positions = [position for group in members for _, request in group for position in request.positions]
        first, last = (min(positions), max(positions)) if positions else (prefix, prefix)
        logits = self._logits(batch, prefix, first - prefix, last - prefix)
        self._counts.read += sum(len(inputs) - prefix for inputs in batch)
        self._counts.predicted += sum(
            len({at for _, request in group for at in request.positions}) for group in members
        )
        results = {}
        for row, group in zip(logits, members, strict=True):
            for index, request in group:
                at = torch.tensor(request.positions, device=row.device, dtype=torch.long) - first
                targets = torch.tensor(request.targets, device=row.device, dtype=torch.long)
                logprobs = row[at].float().log_softmax(-1)
                greedy = bool((logprobs.argmax(-1) == targets).all())
                results[index] = logprobs.gather(1, targets[:, None])[:, 0].tolist(), greedy
        return results

    def _logits(self, batch: list[Inputs], prefix: int, first: int, last: int) -> torch.Tensor:
        """(rows, last - first + 1, vocabulary): padded on the right, where a causal model never looks."""
        rest = [inputs[prefix:] for inputs in batch]
        width, device = max(map(len, rest)), self._model.device
        # Token 0 as padding: nothing that is scored attends to it.
        ids = torch.tensor([[*inputs, *([0] * (width - len(inputs)))] for inputs in rest], device=device)
        cache: DynamicCache | None = self._prefixes.after(batch[0][:prefix], len(batch)) if prefix else None
        passed: dict[str, Any] = {"input_ids": ids, "use_cache": cache is not None}
        if cache is not None:
            passed["past_key_values"] = cache
        if not self._selects_positions:
            whole: torch.Tensor = self._model(**passed).logits[:, first : last + 1]
            return whole
        kept: torch.Tensor = self._model(**passed, logits_to_keep=torch.arange(first, last + 1, device=device)).logits
        return kept
