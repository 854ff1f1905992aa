"""RDS+ against a plain dense statement of it, on which every variant is tried."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from siftune.selection.interface import Budget, BudgetError, Features
from siftune.selection.kernels import similarity
from siftune.selection.kernels.shares import apportion
from siftune.selection.methods.rds import RDSPlus

pytestmark = pytest.mark.usefixtures("small_steps")
RNG = np.random.default_rng(0)


def _cosines(pool: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """(m, n), each pair by itself."""
    unit = [query / np.abs(query).max() for query in queries.astype(np.float64)]
    unit = [query / np.sqrt(np.sum(query * query)) for query in unit]
    rows = pool.astype(np.float64)
    return np.array([[np.sum(row * query) / np.sqrt(np.sum(row * row)) for row in rows] for query in unit])


def _task_scores(cosines: np.ndarray, aggregation: str) -> np.ndarray:
    if aggregation == "mean":
        return cosines.mean(axis=0)
    if aggregation == "normalized_mean":
        lowest, highest = cosines.min(axis=1, keepdims=True), cosines.max(axis=1, keepdims=True)
        span = np.where(highest > lowest, highest - lowest, np.inf)
        return ((cosines - lowest) / span).mean(axis=0)
    return cosines.max(axis=0)


def _plain_scores(method: RDSPlus, pool: np.ndarray, queries: dict[str, np.ndarray]) -> np.ndarray:
    """(rankings, n) scores of those that take turns."""
    cosines = [_cosines(pool, rows) for rows in queries.values()]
    if len(cosines) == 1 and method.aggregation == "round_robin":
        return cosines[0]
    tasks = np.stack([_task_scores(task, method.aggregation) for task in cosines])
    if method.task_aggregation == "round_robin":
        return tasks
    combined: np.ndarray = tasks.max(axis=0) if method.task_aggregation == "max" else tasks.mean(axis=0)
    return combined[None]


def _plain_picks(
    scores: np.ndarray, costs: np.ndarray, left: dict[str, int], sources: np.ndarray, pass_on: bool
) -> tuple[list[int], list[float]]:
    """`left`: what every source may still give."""
    orders = [np.lexsort((np.arange(len(costs)), -ranking)).tolist() for ranking in scores]
    positions, picks = [0] * len(orders), []
    gains: list[float] = []
    left = dict(left)

    def usable(row: int) -> bool:
        return row not in picks and costs[row] <= left.get(sources[row], -1)

    while any(usable(row) for row in range(len(costs))):
        for ranking, order in enumerate(orders):
            if not pass_on:
                positions[ranking] = next((p for p, row in enumerate(order) if usable(row)), len(order))
            if positions[ranking] == len(order):
                continue
            row = order[positions[ranking]]
            positions[ranking] += 1
            if usable(row):
                picks.append(row)
                gains.append(scores[ranking][row])
                left[sources[row]] -= costs[row]
    return picks, gains


def _shares(costs: np.ndarray, sources: np.ndarray, amount: int, weights: dict[str, float]) -> dict[str, int]:
    there = np.array([costs[sources == source].sum() for source in weights])
    return dict(zip(weights, apportion(np.array(list(weights.values())), there, amount).tolist(), strict=True))


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 40),
    distinct=st.integers(1, 40),
    tasks=st.integers(1, 3),
    unit=st.sampled_from(["examples", "fraction", "tokens"]),
    share=st.floats(0.05, 1.0),
    weights=st.none() | st.fixed_dictionaries({"x": st.sampled_from([1.0, 2.5]), "y": st.sampled_from([1.0, 0.3])}),
    method=st.builds(
        RDSPlus,
        aggregation=st.sampled_from(["round_robin", "max", "mean", "normalized_mean"]),
        task_aggregation=st.sampled_from(["round_robin", "max", "mean"]),
        on_duplicate=st.sampled_from(["next_best", "pass"]),
    ),
)
def test_every_variant_picks_as_the_plain_method(
    seed: int,
    size: int,
    distinct: int,
    tasks: int,
    unit: Any,
    share: float,
    weights: dict[str, float] | None,
    method: RDSPlus,
) -> None:
    """Pools with exact copies, of every size, under every kind of budget, shared by source or not."""
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal((distinct, 5)).astype(np.float32)[rng.integers(0, distinct, size)]
    queries = {f"task{t}": rng.standard_normal((int(rng.integers(1, 5)), 5)).astype(np.float32) for t in range(tasks)}
    tokens = rng.integers(1, 50, size)
    amount = {"examples": max(1, int(share * size)), "fraction": share, "tokens": int(share * tokens.sum())}[unit]
    if (unit == "fraction" and np.floor(share * size + 0.5) == 0) or (unit == "tokens" and amount < tokens.min()):
        return
    budget, sources = Budget(amount, unit), rng.choice(["x", "y", "z"], size)
    costs, total = (tokens, int(amount)) if unit == "tokens" else (np.ones(size, dtype=int), budget.count(size))
    # z has no weight.
    assume(weights is None or ({"x", "y"} <= set(sources) and costs[sources != "z"].sum() >= total))
    features = Features(size=size, embeddings=pool, queries=queries, num_tokens=tokens, sources=sources)
    method = replace(method, source_weights=weights)
    shares = {} if weights is None else _shares(costs, sources, total, weights)
    if weights is not None and not any(costs[row] <= shares.get(sources[row], -1) for row in range(size)):
        with pytest.raises(BudgetError, match="no row fits its source's share"):
            method.select(features, budget, RNG)
        return
    selection = method.select(features, budget, RNG)
    pass_on = method.on_duplicate == "pass"
    scores = _plain_scores(method, pool, queries)
    assume(not _tied_by_chance(scores, pool))
    if weights is None:
        # One purse for all.
        picks, gains = _plain_picks(_untied(scores), costs, {"any": total}, np.full(size, "any"), pass_on)
    else:
        picks, gains = _plain_picks(_untied(scores), costs, shares, sources, pass_on)
    assert selection.indices.tolist() == picks
    np.testing.assert_allclose(selection.gains, gains, rtol=1e-9, atol=1e-9)


def _tied_by_chance(scores: np.ndarray, pool: np.ndarray) -> bool:
    """Whether rows that are no copies have equal scores but for rounding: the best rows of two queries, normalised."""
    _, firsts = np.unique(pool, axis=0, return_index=True)
    return bool((np.diff(np.sort(scores[:, firsts], axis=1), axis=1) < 1e-11).any())


def _untied(scores: np.ndarray) -> np.ndarray:
    """Scores that differ by less than 1e-12 made equal: the plain means and ours may round differently."""
    return np.round(scores, 12)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("block", [100, 8192])
@pytest.mark.parametrize("tasks", [1, 2])
def test_differences_that_float32_cannot_see_decide(threads: int, block: int, tasks: int) -> None:
    """Near-copies 1e-9 apart, as float64 embeddings: whatever block size and threads make of the float32 products."""
    rng = np.random.default_rng(5)
    pool = np.repeat(rng.standard_normal((30, 32)), 20, axis=0) + 1e-9 * rng.standard_normal((600, 32))
    queries = {f"task{t}": rng.standard_normal((3, 32)) for t in range(tasks)}
    scores = _plain_scores(RDSPlus(), pool, queries)
    expected, _ = _plain_picks(scores, np.ones(600, dtype=int), {"any": 150}, np.full(600, "any"), pass_on=False)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(similarity, "BLOCK_ROWS", block)
            features = Features(size=600, embeddings=pool, queries=queries)
            assert RDSPlus().select(features, Budget(150), RNG).indices.tolist() == expected
    finally:
        torch.set_num_threads(before)
