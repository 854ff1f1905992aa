"""What selectors that pick in rounds promise: exact budgets round by round, no row twice, clusters by their weights."""

from __future__ import annotations

import numpy as np
import pytest

from siftune.runs.options import shipped_selectors
from siftune.selection.interface import Budget, BudgetError, Features, Selection, Selector
from siftune.selection.rounds import DrawsByCluster, ExtendsPicks

SIZE = 160
BUDGETS = [Budget(40), Budget(0.3, "fraction"), Budget(900, "tokens")]
SELECTORS: dict[str, Selector] = {
    name: selector
    for name, selector in sorted(shipped_selectors().items())
    if isinstance(selector, (DrawsByCluster, ExtendsPicks))
}
CLUSTERS = np.arange(SIZE) % 5
"""Of seven clusters, two of which have no row."""
WEIGHTS = {
    "equal": np.full(7, 1 / 7),
    "uneven": np.array([0.5, 0.2, 0.05, 0.0, 0.1, 0.1, 0.05]),
    "all on one": np.array([0.0, 0, 1, 0, 0, 0, 0]),
    "all on an absent one": np.array([0.0, 0, 0, 0, 0, 0, 1]),
    "tiny": np.array([1e-320, 1e-300, 1e-12, 1, 1e-310, 0, 1e-320]),
    "none": np.zeros(7),
}


each_in_rounds = pytest.mark.parametrize("name", SELECTORS)
each_by_cluster = pytest.mark.parametrize("name", [n for n in SELECTORS if isinstance(SELECTORS[n], DrawsByCluster)])


def pool() -> Features:
    """The signals that they read, without ties."""
    rng = np.random.default_rng(0)
    return Features(
        size=SIZE,
        embeddings=rng.standard_normal((SIZE, 12)).astype(np.float32),
        scores={"deita": rng.random(SIZE)},
        num_tokens=rng.permutation(np.arange(5, 5 + SIZE)),
    )


def next_round(
    selector: Selector, taken: list[int], budget: Budget, *, seed: int = 0, weights: np.ndarray = WEIGHTS["equal"]
) -> Selection:
    """One more round of `pool()` besides the rows taken."""
    features, rng = pool(), np.random.default_rng(seed)
    if isinstance(selector, ExtendsPicks):
        return selector.extend(features, np.array(taken, dtype=np.int64), budget, rng)
    assert isinstance(selector, DrawsByCluster)
    mask = np.isin(np.arange(SIZE), taken)
    return selector.draw(features, CLUSTERS, weights, mask, budget, rng)


@each_in_rounds
def test_rounds_give_their_budget_and_no_row_twice(name: str) -> None:
    tokens, taken = pool().num_tokens, [5, 150, 31]
    assert tokens is not None
    for number, budget in enumerate(2 * BUDGETS[:1] + BUDGETS[1:]):
        selection = next_round(SELECTORS[name], taken, budget, seed=number)
        again = next_round(SELECTORS[name], taken, budget, seed=number)
        picked = selection.indices.tolist()
        assert picked == again.indices.tolist()
        np.testing.assert_array_equal(selection.gains, again.gains)
        assert selection.indices.dtype == np.int64
        assert selection.gains.shape == selection.indices.shape
        assert not set(picked) & set(taken)
        assert len(set(picked)) == len(picked)
        taken += picked
        if budget.unit != "tokens":
            assert len(picked) == budget.count(SIZE)
        else:
            left = budget.amount - tokens[picked].sum()
            assert left >= 0
            assert tokens[np.setdiff1d(np.arange(SIZE), taken)].min() > left


@each_in_rounds
def test_the_last_round_takes_all_that_is_left_and_no_more(name: str) -> None:
    tokens = pool().num_tokens
    assert tokens is not None
    taken = np.random.default_rng(1).permutation(SIZE)[:110].tolist()
    rest = sorted(set(range(SIZE)) - set(taken))
    for budget, more in (
        (Budget(50), Budget(51)),
        (Budget(50 / SIZE, "fraction"), Budget(51 / SIZE, "fraction")),
        (Budget(int(tokens[rest].sum()), "tokens"), Budget(int(tokens[rest].sum()) + 1, "tokens")),
    ):
        assert sorted(next_round(SELECTORS[name], taken, budget).indices.tolist()) == rest
        with pytest.raises(BudgetError, match="1 missing"):
            next_round(SELECTORS[name], taken, more)
    shortest = int(tokens[rest].min())
    with pytest.raises(BudgetError, match=f"the shortest row has {shortest}"):
        next_round(SELECTORS[name], taken, Budget(shortest - 1, "tokens"))
    with pytest.raises(BudgetError, match="1 missing"):
        next_round(SELECTORS[name], list(range(SIZE)), Budget(1))


@each_by_cluster
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_any_weights_meet_the_budget(name: str, weights: np.ndarray) -> None:
    """Clusters without a row, used up, or of no weight: the others give what is missing."""
    selector = SELECTORS[name]
    taken = [row for row in range(SIZE) if CLUSTERS[row] == 2 and row > 9]
    for budget in BUDGETS:
        picked = next_round(selector, taken, budget, weights=weights).indices.tolist()
        assert not set(picked) & set(taken)
        assert len(set(picked)) == len(picked)
        assert budget.unit == "tokens" or len(picked) == budget.count(SIZE)


@each_by_cluster
def test_clusters_give_rows_in_proportion_to_their_weights(name: str) -> None:
    picked = next_round(SELECTORS[name], [], Budget(20), weights=np.array([8.0, 4, 2, 4, 2, 0, 0])).indices
    assert np.bincount(CLUSTERS[picked], minlength=7).tolist() == [8, 4, 2, 4, 2, 0, 0]
    # Cluster 0 has 32 rows; of 50, the 8 : 2 that it leaves are shared by the others.
    picked = next_round(SELECTORS[name], [], Budget(50), weights=np.array([8.0, 1, 0, 1, 0, 0, 0])).indices
    assert np.bincount(CLUSTERS[picked], minlength=7).tolist() == [32, 9, 0, 9, 0, 0, 0]


@each_by_cluster
def test_selecting_is_drawing_by_the_sizes_of_its_clusters(name: str) -> None:
    selector, features = SELECTORS[name], pool()
    assert isinstance(selector, DrawsByCluster)
    for budget in BUDGETS:
        rng = np.random.default_rng(3)
        labels = selector.partition(features, rng)
        assert labels.shape == (SIZE,)
        assert labels.min() == 0
        nobody = np.zeros(SIZE, dtype=bool)
        drawn = selector.draw(features, labels, np.bincount(labels), nobody, budget, rng)
        assert drawn.indices.tolist() == selector.select(features, budget, np.random.default_rng(3)).indices.tolist()


@each_by_cluster
def test_clusters_and_weights_that_do_not_go_together_are_refused(name: str) -> None:
    selector, features, rng = SELECTORS[name], pool(), np.random.default_rng(0)
    assert isinstance(selector, DrawsByCluster)
    nobody = np.zeros(SIZE, dtype=bool)
    with pytest.raises(ValueError, match="there are 4 weights and other clusters in rows 4, 9, 14"):
        selector.draw(features, CLUSTERS, np.ones(4), nobody, Budget(9), rng)
    with pytest.raises(ValueError, match="not negative; those at 1, 3 are not"):
        selector.draw(features, CLUSTERS, np.array([1, np.nan, 1, -1, 1]), nobody, Budget(9), rng)
    with pytest.raises(ValueError, match="the pool has 160 rows"):
        selector.draw(features, CLUSTERS[1:], np.ones(5), nobody, Budget(9), rng)
    with pytest.raises(ValueError, match="taken has dtype int64"):
        selector.draw(features, CLUSTERS, np.ones(5), np.arange(SIZE), Budget(9), rng)
