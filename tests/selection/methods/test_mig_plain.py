"""MIG against a plain dense statement of it: every row's gain at every pick."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from siftune.selection.interface import Budget, Features
from siftune.selection.kernels import information_gain
from siftune.selection.methods.mig import MIG

RNG = np.random.default_rng(0)


def _features(rows: list[list[int]], scores: list[float], vectors: np.ndarray, lengths: list[int]) -> Features:
    where = (np.repeat(np.arange(len(rows)), [len(row) for row in rows]), [tag for row in rows for tag in row])
    return Features(
        size=len(rows),
        scores={"deita": np.array(scores)},
        tags=csr_array((np.ones(len(where[1])), where), shape=(len(rows), len(vectors))),
        tag_embeddings=vectors.astype(np.float64),
        num_tokens=np.array(lengths),
    )


def _spread(method: MIG, similarity: np.ndarray) -> np.ndarray:
    graph = np.where(similarity >= method.similarity_threshold, similarity, 0.0) * method.propagation_weight
    np.fill_diagonal(graph, 1.0)
    return graph / graph.sum(axis=0)


def _phi(method: MIG, x: np.ndarray) -> np.ndarray:
    if method.phi == "pow":
        return (x + method.phi_offset) ** method.phi_power
    return 1 - np.exp(-method.phi_rate * x)


def _slope(method: MIG, x: np.ndarray) -> np.ndarray:
    if method.phi == "pow":
        return method.phi_power * (x + method.phi_offset) ** (method.phi_power - 1)
    return method.phi_rate * np.exp(-method.phi_rate * x)


class Plain:
    def __init__(self, method: MIG, rows: list[list[int]], scores: list[float], similarity: np.ndarray) -> None:
        occurring = sorted({tag for row in rows for tag in row})
        indicator = np.array([[tag in row for tag in occurring] for row in rows], dtype=np.float64)
        quality = np.array(scores, dtype=np.float64)
        if method.normalize_by_tag_count:
            quality = quality / np.maximum(indicator.sum(axis=1), 1)
        spread = _spread(method, similarity[np.ix_(occurring, occurring)])
        self.brought = quality[:, None] * (indicator @ spread)
        self.method = method
        self.x = np.zeros(len(occurring))

    def gains(self) -> np.ndarray:
        if self.method.gain == "gradient":
            return self.brought @ _slope(self.method, self.x)
        return (_phi(self.method, self.x + self.brought) - _phi(self.method, self.x)).sum(axis=1)

    def take(self, row: int) -> None:
        self.x = self.x + self.brought[row]


def _check(method: MIG, features: Features, plain: Plain, budget: Budget) -> None:
    """Every pick has the highest gain of the rows left that fit, up to rounding, and states it."""
    selection = method.select(features, budget, RNG)
    costs = np.ones(features.size) if budget.unit != "tokens" else features.num_tokens
    assert costs is not None
    free, left = np.ones(features.size, dtype=bool), budget.amount
    for row, gain in zip(selection.indices.tolist(), selection.gains.tolist(), strict=True):
        gains = plain.gains()
        allowed = free & (costs <= left)
        assert allowed[row]
        best = gains[allowed].max()
        close = 1e-9 * max(best, 1e-6) + 1e-12 * np.abs(plain.x).max(initial=1.0)
        assert gains[row] >= best - close
        assert gain == pytest.approx(gains[row], rel=1e-9, abs=close)
        plain.take(row)
        free[row] = False
        left -= costs[row]
    assert not (free & (costs <= left)).any()


POOLS = st.integers(1, 30).flatmap(
    lambda size: st.tuples(
        st.lists(st.lists(st.integers(0, 7), max_size=4), min_size=size, max_size=size),
        st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.25]), min_size=size, max_size=size),
        st.lists(st.integers(1, 6), min_size=size, max_size=size),
        st.integers(0, 3),
    )
)
METHODS = st.builds(
    MIG,
    similarity_threshold=st.sampled_from([0.0, 0.5, 0.9, 1.0, 1.5]),
    phi=st.sampled_from(["pow", "exp"]),
    phi_power=st.sampled_from([0.3, 0.8, 1.0]),
    phi_offset=st.sampled_from([1e-6, 0.5]),
    phi_rate=st.sampled_from([0.05, 1.0]),
    propagation_weight=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
    normalize_by_tag_count=st.booleans(),
    gain=st.sampled_from(["gradient", "exact"]),
)


@settings(max_examples=100, deadline=None)
@given(method=METHODS, pool=POOLS, share=st.floats(0.05, 1), tokens=st.booleans(), heap=st.sampled_from([1, 4, 1024]))
def test_picks_are_those_of_the_plain_form(method: MIG, pool: Any, share: float, tokens: bool, heap: int) -> None:
    rows, scores, lengths, seed = pool
    vectors = np.random.default_rng(seed).integers(0, 3, size=(8, 3)) + np.array([1, 0, 0])
    features = _features(rows, scores, vectors, lengths)
    total = sum(lengths)
    budget = (
        Budget(max(min(lengths), int(share * total)), "tokens") if tokens else Budget(max(1, int(share * len(rows))))
    )
    unit = vectors / np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    plain = Plain(method, rows, scores, unit @ unit.T)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(information_gain, "_FIRST_HEAP", heap)
        _check(method, features, plain, budget)
