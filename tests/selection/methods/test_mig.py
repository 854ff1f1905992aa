"""MIG: the authors' picks, results by hand, bad input."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from siftune.selection.interface import Budget, BudgetError, Features
from siftune.selection.kernels import information_gain
from siftune.selection.methods.mig import MIG

RNG = np.random.default_rng(0)
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "mig.json.gz"


def _golden() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(gzip.decompress(GOLDEN.read_bytes()))
    return loaded


def _tags(rows: list[list[int]], labels: int) -> csr_array:
    where = (np.repeat(np.arange(len(rows)), [len(row) for row in rows]), [tag for row in rows for tag in row])
    return csr_array((np.ones(len(where[1])), where), shape=(len(rows), labels))


def _features(rows: list[list[int]], scores: list[float], embeddings: Any, **others: Any) -> Features:
    """`embeddings` may be a number of tags: all then point in directions of their own."""
    vectors = np.eye(embeddings) if isinstance(embeddings, int) else np.asarray(embeddings, dtype=np.float64)
    tags = _tags(rows, len(vectors))
    return Features(size=len(rows), scores={"deita": np.array(scores)}, tags=tags, tag_embeddings=vectors, **others)


def _picks(method: MIG, features: Features, budget: Budget) -> list[int]:
    picked: list[int] = method.select(features, budget, RNG).indices.tolist()
    return picked


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("number", range(len(_golden()["cases"])))
def test_the_authors_picks_are_reproduced(number: int, dtype: type) -> None:
    golden = _golden()
    case = golden["cases"][number]
    features = _features(golden["labels"], golden["scores"], golden["label_embeddings"])
    assert features.tag_embeddings is not None
    features = dataclasses.replace(features, tag_embeddings=features.tag_embeddings.astype(dtype))
    method = MIG(
        similarity_threshold=case["sim_threshold"],
        phi=case["phi"],
        phi_power=case["phi_b"],
        phi_offset=case["phi_a"],
        phi_rate=case["phi_alpha"],
        propagation_weight=case["propagation_weight"],
        normalize_by_tag_count=case["normalize_by_label_count"],
    )
    assert _picks(method, features, Budget(case["k"])) == case["picks"]


@pytest.mark.parametrize("gain", ["gradient", "exact"])
def test_neither_the_heap_nor_the_slices_matter(gain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    rows = [rng.integers(0, 40, size=rng.integers(0, 6)).tolist() for _ in range(2000)]
    features = _features(rows, rng.integers(1, 6, size=2000).tolist(), rng.standard_normal((40, 4)))
    method = MIG(similarity_threshold=0.6, gain=gain)
    expected = _picks(method, features, Budget(1500))
    for heap, terms in ((1, 2**24), (16, 1), (100, 10_000)):
        monkeypatch.setattr(information_gain, "_FIRST_HEAP", heap)
        monkeypatch.setattr(information_gain, "_TERMS_AT_ONCE", terms)
        assert _picks(method, features, Budget(1500)) == expected


def test_a_toy_by_hand() -> None:
    """No neighbours, phi(x) = sqrt(x + 1): gains are quality * sum over tags of 1 / (2 sqrt(x + 1))."""
    features = _features([[0], [0, 1], [1], [0]], [3.0, 2.0, 1.5, 2.9], 2)
    method = MIG(phi_power=0.5, phi_offset=1.0)
    selection = method.select(features, Budget(4), RNG)
    # First 2 * (.5 + .5) = 2; x = (2, 2). Then 3 / (2 sqrt 3); x = (5, 2). Then 1.5 / (2 sqrt 3) = .433 against
    # 2.9 / (2 sqrt 6) = .592.
    assert selection.indices.tolist() == [1, 0, 3, 2]
    assert selection.gains == pytest.approx([2.0, 3 / 12**0.5, 2.9 / 24**0.5, 1.5 / 12**0.5])


def test_the_exact_gain_is_the_increase_of_the_information() -> None:
    """phi(x) = sqrt(x + 1): a row of quality 8 brings sqrt(9) - 1 = 2, two tags of quality 3 bring 1 each."""
    features = _features([[0], [1, 2], [0]], [8.0, 3.0, 7.0], 3)
    selection = MIG(phi_power=0.5, phi_offset=1.0, gain="exact").select(features, Budget(3), RNG)
    assert selection.indices.tolist() == [0, 1, 2]
    assert selection.gains == pytest.approx([2.0, 2.0, 4.0 - 3.0])


def test_neighbours_share_what_a_row_brings() -> None:
    """Tags 0 and 1 are the same: P is 1/2 among them, and picking row 0 takes from row 1 too. Tag 2 stands alone."""
    features = _features([[0], [1], [2]], [1.0, 0.9, 0.5], [[1, 0], [1, 0], [0, 1]])
    assert _picks(MIG(), features, Budget(3)) == [0, 2, 1]
    assert _picks(MIG(propagation_weight=0.0), features, Budget(3)) == [0, 1, 2]
    assert _picks(MIG(similarity_threshold=1.5), features, Budget(3)) == [0, 1, 2]


def test_a_tag_repeated_within_a_row_counts_once() -> None:
    rows, scores = [[0, 0, 0], [1]], [1.0, 2.0]
    assert _picks(MIG(), _features(rows, scores, 2), Budget(2)) == [1, 0]
    assert _picks(MIG(normalize_by_tag_count=True), _features([[0, 0], [1]], [1.0, 0.9], 2), Budget(2)) == [0, 1]


def test_a_tag_that_does_not_occur_is_no_node() -> None:
    """Tag 1 is like tag 0: as a node it would take half of what row 0 brings, and row 1 would go first."""
    features = _features([[0], [2]], [1.0, 0.9], [[1, 0], [1, 0], [0, 1]])
    assert _picks(MIG(), features, Budget(2)) == [0, 1]
    assert features.tag_embeddings is not None
    features.tag_embeddings[1] = np.nan
    assert _picks(MIG(), features, Budget(2)) == [0, 1]


def test_rows_without_tags_come_last_by_row() -> None:
    features = _features([[], [0], [], [0]], [9.0, 1.0, 8.0, 0.5], 1)
    for gain in ("gradient", "exact"):
        selection = MIG(gain=gain).select(features, Budget(4), RNG)
        assert selection.indices.tolist() == [1, 3, 0, 2]
        assert selection.gains[2:].tolist() == [0.0, 0.0]
    assert _picks(MIG(), _features([[], []], [1.0, 1.0], 3), Budget(2)) == [0, 1]


def test_without_a_score_every_row_is_worth_the_same() -> None:
    features = dataclasses.replace(_features([[0], [1, 2]], [5.0, 1.0], 3), scores={})
    assert MIG(score=None).score_names == ()
    assert MIG(score="quality").score_names == ("quality",)
    assert _picks(MIG(score=None), features, Budget(2)) == [1, 0]


def test_gains_that_all_underflow_are_ties() -> None:
    """exp(-c x) vanishes after the first picks; nothing may be looked at for every pick then."""
    features = _features([[0]] * 500, [2000.0] * 500, 1)
    for gain in ("gradient", "exact"):
        assert _picks(MIG(phi="exp", gain=gain), features, Budget(500)) == list(range(500))


def test_a_label_graph_stands_in_for_the_embeddings() -> None:
    rng = np.random.default_rng(3)
    rows = [rng.integers(0, 6, size=3).tolist() for _ in range(60)]
    vectors = rng.standard_normal((8, 3))
    features = _features(rows, rng.random(60).tolist(), vectors)
    unit = vectors / np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    similarity = unit @ unit.T
    graph = csr_array(np.where(similarity >= 0.2, similarity, 0.0))
    graph.setdiag(1.0)
    given_graph = dataclasses.replace(features, label_graph=graph, tag_embeddings=None)
    for threshold in (0.2, 0.7):
        method = MIG(similarity_threshold=threshold)
        assert _picks(method, given_graph, Budget(40)) == _picks(method, features, Budget(40))
    # At most 1 is left out below a threshold above 1, but for the diagonal.
    assert _picks(MIG(similarity_threshold=2), given_graph, Budget(40)) == _picks(
        MIG(similarity_threshold=2), features, Budget(40)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_graph": csr_array(np.eye(2))}, r"shape \(2, 2\), expected \(3, 3\)"),
        ({"label_graph": csr_array(np.diag([1.0, 0.5, 1.0]))}, "diagonal; tags \\(columns\\) 1"),
        ({"label_graph": csr_array(np.eye(3) + np.eye(3, k=1))}, "not symmetric"),
        ({"label_graph": csr_array(np.eye(3) - np.eye(3, k=1) - np.eye(3, k=-1))}, "negative"),
        ({"tag_embeddings": None}, "features.tag_embeddings, which was not given"),
        ({"tag_embeddings": np.eye(4)}, r"shape \(4, 4\), expected \(3, dimension\)"),
        ({"tag_embeddings": np.diag([1.0, 1.0, 0.0])}, r"tags \(columns\) 2 are zero"),
        ({"tag_embeddings": np.diag([1.0, np.nan, 1.0])}, r"tags \(columns\) 1 are zero, NaN"),
        ({"scores": {"deita": np.array([1.0, -0.5])}}, "negative in rows 1"),
        ({"scores": {"deita": np.array([np.nan, 1.0])}}, "rows 0"),
        ({"scores": {"quality": np.ones(2)}}, "'deita', which was not given; there are: quality"),
        ({"tags": None}, "features.tags"),
    ],
)
def test_what_is_wrong_with_the_features_is_said(change: dict[str, Any], message: str) -> None:
    features = dataclasses.replace(_features([[0, 1], [2]], [1.0, 1.0], 3), **change)
    with pytest.raises(ValueError, match=message):
        _picks(MIG(), features, Budget(1))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phi", "log"),
        ("gain", "true"),
        ("similarity_threshold", -0.1),
        ("propagation_weight", -1.0),
        ("propagation_weight", float("nan")),
        ("phi_offset", 0.0),
        ("phi_rate", 0.0),
        ("phi_power", 1.2),
        ("phi_power", 0.0),
    ],
)
def test_hyperparameters_are_checked(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field}="):
        MIG(**{field: value})


def test_a_budget_that_cannot_be_met_is_refused() -> None:
    with pytest.raises(BudgetError, match="1 missing"):
        _picks(MIG(), _features([[0], [1]], [1.0, 1.0], 2), Budget(3))
