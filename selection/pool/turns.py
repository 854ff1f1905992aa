"""Conversations as pairs of a user's turn and its answer, and what becomes of scores that each pair has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from siftune.selection.pool.rows import Message, says_something
from siftune.selection.pool.source import TurnReduction


@dataclass(frozen=True)
class Turn:
    """What a user says and what the assistant answers."""

    query: str
    response: str


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """The answered turns, in order; text of the same side that nothing of the other parts is one, a blank line between.

    System and tool messages are left out, and so are what the assistant says before any user and what no one answers.
    """
    turns: list[tuple[list[str], list[str]]] = []
    for message in messages:
        if message["role"] == "user":
            if not turns or turns[-1][1]:
                turns.append(([], []))
            turns[-1][0].append(message["content"])
        elif turns and says_something(message):
            turns[-1][1].append(message["content"])
    return [Turn("\n\n".join(said), "\n\n".join(answered)) for said, answered in turns if answered]


def over_turns(values: Sequence[float], turn_reduction: TurnReduction) -> float:
    """Their mean, or their sum; there is at least one."""
    total = sum(values)
    return total if turn_reduction == "sum" else total / len(values)


def deita(quality: Sequence[float], complexity: Sequence[float], turn_reduction: TurnReduction) -> float:
    """quality x complexity of each turn, summed (DEITA, arXiv 2312.15685) or averaged (MIG, arXiv 2504.13835)."""
    return over_turns([q * c for q, c in zip(quality, complexity, strict=True)], turn_reduction)
