"""What is asked of a model that gives probabilities: tokens to be scored, made from conversations and continuations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lm_eval.api.instance import Instance
from transformers import PreTrainedTokenizerBase

from siftune.finetune.chat import encode_text

Span = tuple[int, int]
Inputs = tuple[int, ...]


@dataclass(frozen=True)
class Scored:
    """Tokens whose probability is asked: the logits at `positions[i]` of `inputs` predict `targets[i]`."""

    inputs: Inputs
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


class ScoresTokens:
    """lm-eval's log-likelihoods and siftune's, of a model that scores tokens: to be mixed into an lm-eval model."""

    tokenizer: Any
    conversation_length: int
    """Tokens of a conversation at most: of a longer one the beginning is cut off."""
    scored_length: int
    """Tokens before the last one that is scored, at most."""

    @abstractmethod
    def score(self, requests: Sequence[Scored], progress: str | None = None) -> list[tuple[list[float], bool]]:
        """For each request the log-probabilities of its targets, and whether each target is the likeliest token.

        progress: title of a progress bar; None: no bar.
        """

    def response_loglikelihood(self, requests: list[Instance]) -> list[ResponseScore]:
        """Score conversations; the arguments of a request are its rendered text and the responses' character spans."""
        length = self.conversation_length
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
        scored = [_continuation(context, continuation, self.scored_length) for _, context, continuation in requests]
        scores = self.score(scored, None if disable_tqdm else "Scoring continuations")
        return [(sum(logprobs), greedy) for logprobs, greedy in scores]


def sequence_of(request: Scored) -> Inputs:
    """The inputs with the last target after them, where that is the last thing to be predicted: what engines that score
    whole prompts are given. The target at position p is token p + 1 of it."""
    ends = bool(request.positions) and request.positions[-1] == len(request.inputs) - 1
    return (*request.inputs, request.targets[-1]) if ends else request.inputs


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
