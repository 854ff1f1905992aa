"""What is said of a finished stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from siftune.runs.artifacts import Artifact
from siftune.runs.workspace import describe


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        ({"rows": 1200, "duplicates": 14, "deduplicated": False}, "1,200 rows, 14 exact copies kept"),
        ({"rows": 6000, "duplicates": 51, "deduplicated": True}, "6,000 rows, 51 exact copies removed"),
        ({"rows": 5, "duplicates": 0, "deduplicated": True, "quarantined": 2}, "5 rows, 2 quarantined"),
        ({"rows": 8, "truncated": 3, "tokens": 12000}, "8 rows, 3 truncated, 12,000 tokens"),
        ({}, ""),
    ],
)
def test_a_stage_is_described_in_a_few_words(summary: dict[str, Any], words: str) -> None:
    assert describe(Artifact(Path("x"), {"summary": summary}, cached=False)) == words
