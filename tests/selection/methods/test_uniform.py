from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siftune.selection.interface import Budget, Features
from siftune.selection.methods.uniform import Random, RandomBalanced


def _even_shares(sizes: dict[str, int], wanted: int) -> dict[str, int]:
    """One more for every source that has rows left, until fewer are wanted than there are such sources."""
    shares = dict.fromkeys(sizes, 0)
    while wanted:
        open_sources = [source for source in sizes if shares[source] < sizes[source]]
        if wanted < len(open_sources):
            return shares
        for source in open_sources:
            shares[source] += 1
        wanted -= len(open_sources)
    return shares


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 30), min_size=1), st.floats(0.0, 1.0), st.integers(0, 99)
)
def test_sources_share_evenly_and_what_one_lacks_goes_to_the_others(
    sizes: dict[str, int], share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sources = rng.permutation([source for source, size in sizes.items() for _ in range(size)])
    wanted = max(1, int(share * len(sources)))
    features = Features(size=len(sources), sources=sources)
    picks = RandomBalanced().select(features, Budget(wanted), rng).indices
    counts, even = Counter(sources[picks].tolist()), _even_shares(sizes, wanted)
    assert len(set(picks.tolist())) == wanted
    for source, size in sizes.items():
        assert even[source] <= counts[source] <= min(size, even[source] + 1)


def test_a_source_gives_each_of_its_rows_equally_often() -> None:
    sources = np.array(["a"] * 8 + ["b"] * 2)
    counts = np.zeros(10)
    for seed in range(2000):
        picks = (
            RandomBalanced().select(Features(size=10, sources=sources), Budget(4), np.random.default_rng(seed)).indices
        )
        counts[picks] += 1
    # 2000 draws of 2 in 8: 500 a row, standard deviation 19.
    assert np.abs(counts[:8] - 500).max() < 80
    assert counts[8:].tolist() == [2000, 2000]


def test_the_odd_row_goes_to_any_source() -> None:
    sources = np.array(["a", "a", "b", "b"])
    seen: Counter[str] = Counter()
    for seed in range(50):
        picks = (
            RandomBalanced().select(Features(size=4, sources=sources), Budget(1), np.random.default_rng(seed)).indices
        )
        seen.update(sources[picks].tolist())
    assert set(seen) == {"a", "b"}


def test_random_picks_every_row_equally_often() -> None:
    counts = np.zeros(6)
    for seed in range(3000):
        counts[Random().select(Features(size=6), Budget(2), np.random.default_rng(seed)).indices] += 1
    # 1000 a row, standard deviation 26.
    assert np.abs(counts - 1000).max() < 110


def test_no_gains_are_made_up() -> None:
    features = Features(size=5, sources=np.array(list("aabbb")))
    for method in (Random(), RandomBalanced()):
        assert np.isnan(method.select(features, Budget(5), np.random.default_rng(0)).gains).all()


def test_balancing_needs_the_source_of_every_row() -> None:
    with pytest.raises(ValueError, match=r"features\.sources, which was not given"):
        RandomBalanced().select(Features(size=2), Budget(1), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"shape \(1,\), the pool has 2 rows"):
        RandomBalanced().select(Features(size=2, sources=np.array(["a"])), Budget(1), np.random.default_rng(0))
