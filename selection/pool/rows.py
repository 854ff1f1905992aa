"""One row of a pool: a conversation with its identity, where it came from and what is known about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]
"""One turn: {"role": "system" | "user" | "assistant" | "tool", "content": str}, and whatever else the data has
("name", "tool_calls", "tool_call_id" ...)."""

ROLES = ("system", "user", "assistant", "tool")
ID_LENGTH = 20
"""Hex digits of a row id: 80 bits, so that two rows of a pool of ten million share one by chance once in 2e10 pools."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a pool, as every stage sees it. At least one assistant turn has text, but for a model's empty reply."""

    id: str
    """`row_id(messages)`; the second copy of the same conversation in a pool that keeps copies has the suffix -2."""
    source: str
    """The data set, or part of one, that the row came from."""
    messages: list[Message]
    tags: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    """What annotators gave the row: "quality", "complexity", "deita" ... Only the scores that the row has."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """The other columns of the row (licence, domain, skill, answer ...), as JSON values."""

    def prompt_messages(self) -> list[Message]:
        """All turns before the final assistant turn that has text."""
        return self.messages[: self._final_turn()]

    def response(self) -> str:
        """The text of the final assistant turn that has text."""
        content: str = self.messages[self._final_turn()]["content"]
        return content

    def _final_turn(self) -> int:
        for index in range(len(self.messages) - 1, -1, -1):
            if says_something(self.messages[index]):
                return index
        # A model's reply may be nothing but the end of its turn.
        silent = [index for index, message in enumerate(self.messages) if message["role"] == "assistant"]
        if silent:
            return silent[-1]
        raise ValueError(f"row {self.id} has no assistant turn")


def says_something(message: Message) -> bool:
    """Whether this is an assistant turn with text (one that only calls a tool has none)."""
    return message["role"] == "assistant" and bool(message["content"].strip())


def row_id(messages: list[Message]) -> str:
    """The content hash of a conversation: the first 20 hex digits of the SHA-256 of its canonical JSON.

    ValueError (UnicodeEncodeError) where a string holds half of a surrogate pair, which no UTF-8 file can hold.
    """
    canonical = json.dumps(messages, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:ID_LENGTH]
