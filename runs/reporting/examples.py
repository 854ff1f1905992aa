"""Rows that a method picked, as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np

from siftune.runs.reporting.content import Example
from siftune.runs.reporting.subsets import Picks
from siftune.selection.pool.subset import Pick, read_subset

EXAMPLES = 20
FROM_THE_TOP = 10
"""So many of them are the first picks; the others are spread evenly over the rest."""
CHARACTERS = 600
"""So much of a turn is shown."""
TURNS = 6
"""So many turns of a conversation are shown."""


def examples_of(picks: Picks) -> list[Example]:
    """Rows of the first seed's subset: the first picks, and some of the rest, in the order picked."""
    total = len(picks.first)
    wanted = set(shown_ranks(total).tolist())
    found: Iterator[Pick] = (pick for pick in read_subset(picks.folders[picks.seed]) if pick.rank in wanted)
    return [_example(pick, total) for pick in islice(found, len(wanted))]


def shown_ranks(total: int) -> np.ndarray:
    """Ascending ranks, 0 the first: the top ones, and others evenly spread over the rest."""
    if total <= EXAMPLES:
        return np.arange(total)
    spread = np.linspace(FROM_THE_TOP, total - 1, EXAMPLES - FROM_THE_TOP).round().astype(int)
    return np.union1d(np.arange(FROM_THE_TOP), spread)


def _example(pick: Pick, total: int) -> Example:
    gain = [] if math.isnan(pick.gain) else [f"gain {pick.gain:.4g}"]
    title = " · ".join([f"pick {pick.rank + 1:,} of {total:,}", *gain, pick.row.source])
    turns = [(str(turn["role"]), cut(str(turn.get("content") or ""))) for turn in pick.row.messages[:TURNS]]
    left = len(pick.row.messages) - len(turns)
    if left:
        turns.append(("", f"… and {left} more turns"))
    return Example(title=title, turns=tuple(turns))


def cut(text: str) -> str:
    """The beginning of a text."""
    text = text.strip()
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS].rstrip()} …"
