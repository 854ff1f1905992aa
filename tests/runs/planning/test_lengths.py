"""Tokens of a pool's rows, from a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from siftune.runs.planning.lengths import SAMPLE, Lengths, sample_lengths
from siftune.selection.pool.rows import Row
from siftune.selection.pool.skills.pool import SkillsPool
from siftune.selection.pool.store import Pool, build_pool


def pool_of(size: int, folder: Path) -> Pool:
    build_pool(SkillsPool(name="skills", size=size), folder)
    return Pool.open(folder)


def characters(row: Row) -> int:
    return sum(len(message["content"]) for message in row.messages)


@pytest.mark.parametrize("size", [1, 40, 2 * SAMPLE])
def test_tokens_that_follow_from_the_characters_are_found_exactly(size: int, tmp_path: Path) -> None:
    pool = pool_of(size, tmp_path)
    found = sample_lengths(pool, lambda row: (10 + 2 * characters(row), 5))
    np.testing.assert_allclose(found.tokens, 10 + 2 * pool.characters)


def test_rows_of_the_sample_are_counted(tmp_path: Path) -> None:
    pool, seen = pool_of(2 * SAMPLE, tmp_path), []

    def count(row: Row) -> tuple[int, int]:
        seen.append(row.id)
        return 100 + len(seen), 50

    found = sample_lengths(pool, count)
    assert len(seen) == SAMPLE
    counted = dict(zip(seen, range(101, 101 + SAMPLE), strict=True))
    known = {row: found.tokens[row] for row, name in enumerate(pool.ids) if name in counted}
    assert known == {row: counted[name] for row, name in enumerate(pool.ids) if name in counted}
    assert (found.tokens > 0).all()


def test_a_cut_takes_from_the_response() -> None:
    lengths = Lengths(np.array([10.0, 5.0]), np.array([4.0, 3.0])).cut(7)
    assert lengths.tokens.tolist() == [7, 5]
    assert lengths.responses.tolist() == [1, 3]
