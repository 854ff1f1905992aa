"""What the harness needs of an evaluated model, whoever runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from siftune.evaluate.token_counts import TokenCounts
from siftune.finetune.chat import Message
from siftune.finetune.decoding import Decoding
from siftune.finetune.generate import Reply


class Written(NamedTuple):
    """An answer to a conversation."""

    read: int
    """Tokens of the prompt; 0 where its reader does not tell."""
    reply: Reply | None
    """None: the prompt leaves the model no room for an answer, or the endpoint does not take it."""


class Writer(Protocol):
    """Answers conversations by one way of decoding."""

    def write(self, conversations: Sequence[Sequence[Message]], seeds: Sequence[int]) -> list[Written]:
        """One answer a conversation, in their order; `seeds`, one each, make those that are drawn."""


class Running(Protocol):
    """A model that is ready to be evaluated."""

    keeps_replies: bool
    """Whether what it wrote is kept by itself, so that nothing else has to."""
    lm: Any
    """As lm-eval's harness calls it."""
    counts: TokenCounts

    def writer(self, decoding: Decoding) -> Writer:
        """For answers to open questions."""

    def spent(self) -> Mapping[str, float]:
        """What its endpoint has counted until now: requests, retries, refused, usd; nothing of a model that runs
        here."""
