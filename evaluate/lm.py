"""The language model as lm-eval's harness calls it: HFLM, with logits computed only where something is scored."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from siftune.finetune.chat import encode_text
from siftune.finetune.generate import end_tokens

Span = tuple[int, int]


@dataclass(frozen=True)
class Scored:
    """Tokens whose probability is asked: the logits at `positions[i]` of `inputs` predict `targets[i]`."""

    inputs: tuple[int, ...]
    positions: tuple[int, ...]
    targets: tuple[int, ...]


class ResponseScore(NamedTuple):
    """What a conversation's responses cost the model."""

    nats: float
    """Sum of -log p over the tokens of the responses, each given all that comes before it."""
    bytes: int
    """UTF-8 length of the responses."""
    truncated: bool
    """Whether the conversation was longer than the model's limit: its beginning was then cut off."""


class SiftuneLM(HFLM):
    """lm-eval's HuggingFace model around one that is loaded already; causal models, one process.

    HFLM computes the logits of every position over the whole vocabulary, in the model's number format. This class
    computes them at the scored positions alone and takes the softmax in float32: the same numbers, sooner.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_size: int, conversation_length: int
    ) -> None:
        super().__init__(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size)
        self._conversation_length = min(conversation_length, self.max_length)
        self._ends = end_tokens(model, tokenizer)
        self._selects_positions = "logits_to_keep" in inspect.signature(_plain(model).forward).parameters

    def response_loglikelihood(self, requests: list[Instance]) -> list[ResponseScore]:
        """Score conversations; the arguments of a request are its rendered text and the responses' character spans."""
        length = self._conversation_length
        windows = [_window(self.tokenizer, text, spans, length) for text, spans in (item.args for item in requests)]
        scores = self.score([window.scored for window in windows], "Scoring responses")
        return [
            ResponseScore(-sum(logprobs), window.bytes, window.truncated)
            for (logprobs, _), window in zip(scores, windows, strict=True)
        ]

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        """lm-eval's (log-likelihood, is greedy) of (text, context tokens, continuation tokens)."""
        scored = [_continuation(context, continuation, self.max_length) for _, context, continuation in requests]
        scores = self.score(scored, None if disable_tqdm else "Scoring continuations")
        return [(sum(logprobs), greedy) for logprobs, greedy in scores]

    @torch.inference_mode()
    def score(self, requests: Sequence[Scored], progress: str | None = None) -> list[tuple[list[float], bool]]:
        """For each request the log-probabilities of its targets, and whether each target is the likeliest token.

        Requests with the same inputs (choices of one token) share a forward pass. Longest first, so that batches hold
        little padding and a lack of memory shows at once.
        """
        sharing: dict[tuple[int, ...], list[int]] = {}
        for index, request in enumerate(requests):
            sharing.setdefault(request.inputs, []).append(index)
        order = sorted(sharing, key=lambda inputs: (-len(inputs), inputs))
        results: dict[int, tuple[list[float], bool]] = {}
        bar = tqdm(total=len(requests), desc=progress, disable=progress is None)
        for batch in _batches(order, int(self.batch_size)):
            members = [[(index, requests[index]) for index in sharing[inputs]] for inputs in batch]
            found = self._score_batch(batch, members)
            results |= found
            bar.update(len(found))
        bar.close()
        return [results[index] for index in range(len(requests))]

    def _score_batch(
        self, batch: list[tuple[int, ...]], members: list[list[tuple[int, Scored]]]
    ) -> dict[int, tuple[list[float], bool]]:
        positions = [position for group in members for _, request in group for position in request.positions]
        first, last = (min(positions), max(positions)) if positions else (0, 0)
        logits = self._logits(batch, first, last)
        results = {}
        for row, group in zip(logits, members, strict=True):
            for index, request in group:
                at = torch.tensor(request.positions, device=row.device, dtype=torch.long) - first
                targets = torch.tensor(request.targets, device=row.device, dtype=torch.long)
                logprobs = row[at].float().log_softmax(-1)
                greedy = bool((logprobs.argmax(-1) == targets).all())
                results[index] = logprobs.gather(1, targets[:, None])[:, 0].tolist(), greedy
        return results

    def _logits(self, batch: list[tuple[int, ...]], first: int, last: int) -> torch.Tensor:
        """(rows, last - first + 1, vocabulary): padded on the right, where a causal model never looks."""
        width = max(map(len, batch))
        # Token 0 as padding: nothing that is scored attends to it.
        ids = torch.tensor([[*inputs, *([0] * (width - len(inputs)))] for inputs in batch], device=self.device)
        if not self._selects_positions:
            return self.model(input_ids=ids, use_cache=False).logits[:, first : last + 1]
        keep = torch.arange(first, last + 1, device=self.device)
        return self.model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits

    def _model_generate(
        self, context: torch.Tensor, max_length: int, stop: list[str], **generation_kwargs: Any
    ) -> torch.Tensor:
        """HFLM's generation; a row also ends at the chat template's end of turn, not only where all rows have ended."""
        generation_kwargs.setdefault("eos_token_id", self._ends)
        return super()._model_generate(context, max_length, stop, **generation_kwargs)


@dataclass(frozen=True)
class _Window:
    scored: Scored
    bytes: int
    truncated: bool


def _window(tokenizer: PreTrainedTokenizerBase, text: str, spans: Sequence[Span], max_length: int) -> _Window:
    """The last `max_length` tokens of a conversation, those that lie in a response, and the responses' bytes."""
    encoded = encode_text(tokenizer, text, offsets=True)
    ids, offsets = encoded["input_ids"][-max_length:], encoded["offset_mapping"][-max_length:]
    truncated = len(encoded["input_ids"]) > max_length
    # The first token of the window has nothing before it to be predicted from.
    begin = offsets[1][0] if truncated and len(offsets) > 1 else 0
    kept = [(max(start, begin), end) for start, end in spans if end > begin]
    inside = [i for i in range(1, len(ids)) if any(_overlap(offsets[i], span) for span in kept)]
    scored = Scored(tuple(ids[:-1]), tuple(i - 1 for i in inside), tuple(ids[i] for i in inside))
    return _Window(scored, sum(len(text[start:end].encode()) for start, end in kept), truncated)


def _overlap(token: Span, span: Span) -> bool:
    return token[1] > token[0] and token[0] < span[1] and token[1] > span[0]


def _continuation(context: Sequence[int], continuation: Sequence[int], max_length: int) -> Scored:
    """A continuation in its context, cut on the left to the model's length as lm-eval does."""
    assert context
    assert 0 < len(continuation) <= max_length
    inputs = tuple([*context, *continuation][-(max_length + 1) : -1])
    return Scored(inputs, tuple(range(len(inputs) - len(continuation), len(inputs))), tuple(continuation))


def _batches(items: list[tuple[int, ...]], size: int) -> Iterator[list[tuple[int, ...]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _plain(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
