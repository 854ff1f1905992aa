"""Rankings whose candidates come from ranges of rows, computed elsewhere: the same rows in the same order."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siftune.selection.interface import Budget, Features, Selection
from siftune.selection.kernels.progress import listening
from siftune.selection.kernels.ranked import RankedRows, next_row
from siftune.selection.kernels.similarity import Rankings, directions
from siftune.selection.kernels.spread import Work, spreading
from siftune.selection.kernels.topk import Places, nothing_read
from siftune.selection.methods.rds import RDSPlus


class Elsewhere:
    """Does the work on ranges in any order; all that goes there and comes back is pickled."""

    def __init__(self, cuts: Sequence[int], rng: np.random.Generator) -> None:
        self.cuts, self.rng, self.calls = cuts, rng, 0

    def __call__(self, work: Work, arrays: Sequence[np.ndarray]) -> Iterator[tuple[range, Any]]:
        bounds = [0, *sorted({cut for cut in self.cuts if 0 < cut < len(arrays[0])}), len(arrays[0])]
        for part in self.rng.permutation(len(bounds) - 1):
            rows = range(bounds[part], bounds[part + 1])
            sent = pickle.dumps((work, [array[rows.start : rows.stop] for array in arrays]))
            there, own = pickle.loads(sent)
            self.calls += 1
            yield rows, pickle.loads(pickle.dumps(there(own, rows.start)))


def read_all(rankings: Rankings, depth: int, skip: np.ndarray, places: Places) -> list[list[tuple[int, float]]]:
    ranked = RankedRows(rankings, depth, depth, skip, places)
    nobody = np.zeros(rankings.size, dtype=bool)
    found: list[list[tuple[int, float]]] = []
    for ranking in range(rankings.count):
        found.append([])
        while (entry := next_row(ranked.scorer, ranked.kept, ranked.sure, ranking, nobody))[0] >= 0:
            found[-1].append(entry)
    return found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 60),
    distinct=st.integers(1, 60),
    depth=st.integers(1, 60),
    cuts=st.lists(st.integers(1, 59), max_size=4),
)
def test_the_best_rows_are_those_of_one_pass(seed: int, size: int, distinct: int, depth: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((distinct, 3)).astype(np.float32)[rng.integers(0, distinct, size)]
    rankings = Rankings([rows], [directions(rng.standard_normal((count, 3))) for count in (1, 4)])
    skip, depth = rng.random(size) < 0.2, min(depth, size)
    middle = RankedRows(rankings, 1, 1, np.zeros(size, dtype=bool), nothing_read(2))
    first = [next_row(middle.scorer, middle.kept, middle.sure, r, np.zeros(size, dtype=bool)) for r in range(2)]
    read = Places(np.array([score for _, score in first]), np.array([row for row, _ in first]))
    for places in (nothing_read(2), read):
        alone = read_all(rankings, depth, skip, places)
        with spreading(Elsewhere(cuts, rng)):
            together = read_all(rankings, depth, skip, places)
        # Which rows beyond the depth are known is free; those within it are not.
        for one, other in zip(alone, together, strict=True):
            shared = min(len(one), len(other))
            assert one[:shared] == other[:shared]
            assert shared >= min(depth, len(one))


def features(rng: np.random.Generator, size: int) -> Features:
    rows = rng.standard_normal((size, 8)).astype(np.float32)
    rows[rng.integers(0, size, size // 3)] = rows[0]
    return Features(size=size, embeddings=rows, queries={t: rng.standard_normal((5, 8)) for t in ("a", "b")})


def pick(features: Features, method: RDSPlus) -> Selection:
    return method.select(features, Budget(unit="examples", amount=200), np.random.default_rng(0))


@pytest.mark.parametrize("on_duplicate", ["next_best", "pass"])
@pytest.mark.parametrize("aggregation", ["round_robin", "max", "mean", "normalized_mean"])
def test_rds_picks_are_the_same(aggregation: Any, on_duplicate: Any) -> None:
    rng = np.random.default_rng(7)
    given = features(rng, 7000)
    method = RDSPlus(aggregation=aggregation, on_duplicate=on_duplicate)
    alone = pick(given, method)
    elsewhere = Elsewhere([100, 2500, 5600], rng)
    with spreading(elsewhere):
        together = pick(given, method)
    assert elsewhere.calls >= 4
    assert np.array_equal(alone.indices, together.indices)
    assert np.array_equal(alone.gains, together.gains)


def test_a_bad_row_is_named_by_its_own_number() -> None:
    rng = np.random.default_rng(0)
    given = features(rng, 300)
    assert given.embeddings is not None
    given.embeddings[217, 3] = np.nan
    with spreading(Elsewhere([100, 200], rng)), pytest.raises(ValueError, match="in rows 217"):
        pick(given, RDSPlus())


def test_progress_counts_the_rows_that_are_done() -> None:
    rng = np.random.default_rng(0)
    told: list[tuple[int, int]] = []
    with listening(lambda what, done, total: told.append((done, total)) if "comparing" in what else None):
        given = features(rng, 300)
        with spreading(Elsewhere([100, 200], rng)):
            pick(given, RDSPlus())
    assert (300, 300) in told
