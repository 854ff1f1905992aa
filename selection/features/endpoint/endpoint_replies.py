"""What an OpenAI-compatible endpoint answers, checked against the form that it ought to have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel, Field


@dataclass(frozen=True)
class Reply:
    """What a chat model answered."""

    text: str
    cut: bool
    """Whether it was cut at the maximum number of tokens."""
    first: Mapping[str, float] = field(default_factory=dict)
    """The likeliest first tokens and their log-probabilities, where `logprobs` were asked for and sent."""
    read: int = 0
    """Tokens of the prompt, where the endpoint tells."""
    written: int = 0
    """Tokens of the reply, where the endpoint tells."""


@dataclass(frozen=True)
class TokenScores:
    """How likely the tokens of a prompt are, each given those before it."""

    logprobs: tuple[float, ...]
    """One a token but the first, which nothing comes before."""
    likeliest: tuple[bool, ...]
    """Whether no token was likelier in its place."""


class Usage(BaseModel):
    """Tokens that an answer tells of; 0 where it tells of none."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Body(BaseModel):
    # Some servers leave it out, or set it to null: no tokens are counted then.
    usage: Usage | None = None


class _Message(BaseModel):
    content: str | None = None


class _Token(BaseModel):
    token: str
    logprob: float


class _Position(BaseModel):
    top_logprobs: list[_Token] = []


class _Logprobs(BaseModel):
    content: list[_Position] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Completion(_Body):
    choices: list[_Choice] = Field(min_length=1)


class _TextLogprobs(BaseModel):
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]


class _TextChoice(BaseModel):
    text: str
    finish_reason: str | None = None
    logprobs: _TextLogprobs | None = None


class _TextCompletion(_Body):
    choices: list[_TextChoice] = Field(min_length=1)


class _Embedding(BaseModel):
    index: int
    embedding: list[float]


class _Embeddings(_Body):
    data: list[_Embedding]


def read_reply(text: str, asked: Any) -> tuple[Reply, Usage]:
    """The first choice of a chat completion; ValueError where the answer is none."""
    body = _Completion.model_validate_json(text)
    choice = body.choices[0]
    positions = (choice.logprobs.content if choice.logprobs else None) or []
    first = {one.token: one.logprob for one in positions[0].top_logprobs} if positions else {}
    usage = body.usage or Usage()
    cut = choice.finish_reason == "length"
    return Reply(choice.message.content or "", cut, first, usage.prompt_tokens, usage.completion_tokens), usage


def read_completion(text: str, asked: Any) -> tuple[Reply, Usage]:
    """The first choice of a text completion; ValueError where the answer is none."""
    body = _TextCompletion.model_validate_json(text)
    choice = body.choices[0]
    usage = body.usage or Usage()
    return Reply(choice.text, choice.finish_reason == "length", {}, usage.prompt_tokens, usage.completion_tokens), usage


def read_scores(text: str, asked: tuple[Sequence[int], Any]) -> tuple[TokenScores, Usage]:
    """The log-probabilities of an echoed prompt; ValueError where there are none, or not one a token."""
    body = _TextCompletion.model_validate_json(text)
    found, count = body.choices[0].logprobs, len(asked[0])
    if found is None:
        raise ValueError("the prompt's log-probabilities (echo and logprobs) are not sent; vLLM's server sends them")
    own, top = found.token_logprobs[1:count], found.top_logprobs[1:count]
    pairs = [
        (mine, max(best.values(), default=mine))
        for mine, best in zip(own, top, strict=False)
        if mine is not None and best is not None
    ]
    if len(pairs) != count - 1:
        raise ValueError(f"{len(found.token_logprobs)} log-probabilities for a prompt of {count} tokens")
    scores = TokenScores(tuple(mine for mine, _ in pairs), tuple(mine >= best for mine, best in pairs))
    return scores, body.usage or Usage()


def read_vectors(text: str, asked: Sequence[str]) -> tuple[np.ndarray, Usage]:
    """The vectors in the order of the texts, which `index` tells and the order of the answer need not."""
    body = _Embeddings.model_validate_json(text)
    ordered = sorted(body.data, key=lambda item: item.index)
    if [item.index for item in ordered] != list(range(len(asked))):
        raise ValueError(f"{len(body.data)} embeddings for {len(asked)} texts, or an index twice")
    if len({len(item.embedding) for item in ordered}) != 1 or not ordered[0].embedding:
        raise ValueError("embeddings of different or no length")
    vectors = np.array([item.embedding for item in ordered], dtype=np.float32)
    if not np.isfinite(vectors).all():
        raise ValueError("embeddings that are infinite or not a number")
    return vectors, body.usage or Usage()
