"""What endpoints count: requests, tokens, money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


def total_usage(notes: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The sum of the notes' `usage`, by name; empty where nothing was counted."""
    total: Counter[str] = Counter()
    for note in notes:
        total.update(note.get("usage", {}))
    return dict(total)
