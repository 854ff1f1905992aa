"""kMQ: shares by cluster size, draws by quality, and the traps of the authors' code."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from siftune.selection.interface import Budget, Features
from siftune.selection.methods.kmq import KMQ, Weighting, _drawn_first

GROUPS = np.repeat([0, 1], [6, 3])
EMBEDDINGS = (1000.0 * GROUPS + np.tile([0.0, 1, 2], 3)).astype(np.float32)[:, None]


def _features(quality: list[float]) -> Features:
    return Features(size=9, embeddings=EMBEDDINGS, scores={"deita": np.array(quality)})


def _draw(quality: list[float], budget: int, seed: int, **fields: object) -> list[int]:
    method = KMQ(num_clusters=2, restarts=5, **fields)  # type: ignore[arg-type]
    return method.select(_features(quality), Budget(budget), np.random.default_rng(seed)).indices.tolist()


@pytest.mark.parametrize("replacement", [False, True])
def test_shares_follow_cluster_sizes(replacement: bool) -> None:
    for seed in range(30):
        picks = _draw([1, 2, 3, 4, 5, 6, 1, 1, 1], 6, seed, replacement=replacement)
        assert np.bincount(GROUPS[picks]).tolist() == [4, 2]


@pytest.mark.parametrize("replacement", [False, True])
def test_rows_are_drawn_in_proportion_to_quality(replacement: bool) -> None:
    """b = 3: two of the first cluster, one of the second with probabilities 0.1, 0.3, 0.6 (one draw either way)."""
    seen = Counter(
        row for seed in range(600) for row in _draw([5, 1, 1, 1, 1, 1, 1, 3, 6], 3, seed, replacement=replacement)
    )
    shares = np.array([seen[row] for row in (6, 7, 8)]) / 600
    np.testing.assert_allclose(shares, [0.1, 0.3, 0.6], atol=0.08)
    # Row 0 is one of two draws without replacement: 1/2 + 5 * 1/10 * 5/9; with replacement at first, the same set law.
    assert abs(seen[0] / 600 - 7 / 9) < 0.08


def test_exponential_weights_of_any_size() -> None:
    """exp(720) overflows: the authors' softmax is NaN there."""
    for shift in (0.0, 720.0, -5000.0, 1e6):
        scores = [shift + value for value in (30.0, 0, 0, 0, 0, 0, 30.0, 0, 0)]
        for replacement in (False, True):
            picks = _draw(scores, 3, 1, weighting="exp", replacement=replacement)
            assert {0, 6} <= set(picks)
            assert len(set(picks)) == 3


def test_the_gains_are_the_scores() -> None:
    quality = [1.0, 2, 3, 4, 5, 6, 7, 8, 9]
    selection = KMQ(num_clusters=2).select(_features(quality), Budget(9), np.random.default_rng(0))
    assert selection.gains.tolist() == (selection.indices + 1).tolist()


@pytest.mark.parametrize("replacement", [False, True])
def test_rows_of_quality_zero(replacement: bool) -> None:
    """They come last in a cluster; in one that has no others, all are as likely."""
    seen: Counter[int] = Counter()
    for seed in range(200):
        picks = _draw([0, 0, 0, 0, 1, 1, 0, 0, 0], 3, seed, replacement=replacement)
        assert set(picks) >= {4, 5}
        seen.update(picks)
    assert all(35 < seen[row] < 100 for row in (6, 7, 8))  # 67 expected
    assert len(_draw([0] * 9, 9, 0, replacement=replacement)) == 9


@pytest.mark.parametrize("replacement", [False, True])
def test_rounds_draw_by_weight_and_quality_from_what_is_left(replacement: bool) -> None:
    """Weights 1 : 3 of clusters 0 and 1, row 8 taken: of four, cluster 1 has two to give and cluster 0 gives two."""
    seen: Counter[int] = Counter()
    alone: Counter[int] = Counter()
    features = _features([5, 1, 1, 1, 1, 1, 1, 3, 6])
    taken = np.isin(np.arange(9), [8])
    method = KMQ(num_clusters=2, replacement=replacement)
    for seed in range(600):
        rng = np.random.default_rng(seed)
        picks = method.draw(features, GROUPS, np.array([0.25, 0.75]), taken, Budget(4), rng).indices
        assert sorted(GROUPS[picks].tolist()) == [0, 0, 1, 1]
        assert set(picks[GROUPS[picks] == 1].tolist()) == {6, 7}
        seen.update(picks.tolist())
        alone.update(method.draw(features, GROUPS, np.array([0.0, 1]), taken, Budget(1), rng).indices.tolist())
    assert abs(seen[0] / 600 - 7 / 9) < 0.08
    assert abs(alone[7] / 600 - 3 / 4) < 0.08
    assert set(alone) == {6, 7}


@pytest.mark.parametrize("weighting", ["score", "exp"])
@pytest.mark.parametrize("replacement", [False, True])
def test_rounds_meet_the_budget_whatever_is_left(replacement: bool, weighting: Weighting) -> None:
    """Clusters empty, used up, of weight 0 or nearly; scores of 0; budgets up to all that is left."""
    rng = np.random.default_rng(0)
    method = KMQ(num_clusters=2, replacement=replacement, weighting=weighting)
    for trial in range(60):
        size, clusters = int(rng.integers(2, 60)), int(rng.integers(1, 9))
        scores = np.where(rng.random(size) < 0.3, 0.0, rng.random(size))
        features = Features(size=size, scores={"deita": scores}, num_tokens=rng.integers(1, 9, size))
        labels, taken = rng.integers(0, clusters, size), rng.random(size) < rng.random()
        weights = np.where(rng.random(clusters) < 0.3, rng.choice([0.0, 1e-320, 1e-200]), rng.random(clusters))
        left = np.flatnonzero(~taken)
        for amount in {1, len(left) // 2, len(left)} - {0} if len(left) else set():
            draws = [
                method.draw(features, labels, weights, taken, Budget(amount), np.random.default_rng(trial)).indices
                for _ in range(2)
            ]
            assert draws[0].tolist() == draws[1].tolist()
            assert len(set(draws[0].tolist())) == amount
            assert set(draws[0].tolist()) <= set(left.tolist())


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("clusters", [1, 50, 1024])
def test_any_number_of_clusters_meets_the_budget(clusters: int, replacement: bool) -> None:
    """`int(b / K)` is 0 rows a cluster for K > b."""
    rng = np.random.default_rng(0)
    features = Features(
        size=120, embeddings=rng.standard_normal((120, 6)).astype(np.float32), scores={"deita": rng.random(120)}
    )
    method = KMQ(num_clusters=clusters, replacement=replacement)
    for budget in (1, 30, 119, 120):
        picks = method.select(features, Budget(budget), np.random.default_rng(1)).indices
        assert len(set(picks.tolist())) == budget


def test_draws_with_replacement_come_first_in_the_order_they_hit() -> None:
    labels, order = np.array([0, 0, 0, 1, 1]), np.array([4, 3, 2, 1, 0])
    log_weights = np.log(np.array([1.0, 1, 2, 1, 3]))

    class Fixed:
        def __init__(self) -> None:
            self._draws = iter([np.array([0.9, 0.3, 0.6]), np.array([0.2])])

        def random(self, count: int) -> np.ndarray:
            draws = next(self._draws)
            assert len(draws) == count
            return draws

    # Steps of cluster 0: 1/4, 1/2, 1, so 0.9, 0.3, 0.6 hit rows 2, 1, 2; of cluster 1: 1/4, 1, so 0.2 hits row 3.
    found = _drawn_first(order, labels, log_weights, np.array([3, 1]), Fixed())  # type: ignore[arg-type]
    assert [row for row in found if labels[row] == 0] == [2, 1, 0]
    assert [row for row in found if labels[row] == 1] == [3, 4]


def test_negative_scores_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'deita', which is negative in rows 1, 4: use weighting=exp"):
        _draw([1, -1, 1, 1, -2, 1, 1, 1, 1], 3, 0)
    assert len(_draw([1, -1, 1, 1, -2, 1, 1, 1, 1], 3, 0, weighting="exp")) == 3


def test_names_and_wrong_fields() -> None:
    assert KMQ(num_clusters=2, score="quality").score_names == ("quality",)
    with pytest.raises(ValueError, match="num_clusters=0"):
        KMQ(num_clusters=0)
    with pytest.raises(ValueError, match="weighting='softmax'"):
        KMQ(num_clusters=2, weighting="softmax")  # type: ignore[arg-type]
