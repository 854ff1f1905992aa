"""RDS+: the authors' picks, and results by hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from siftune.selection.interface import Budget, BudgetError, Features
from siftune.selection.kernels import ranked
from siftune.selection.methods.rds import RDSPlus

pytestmark = pytest.mark.usefixtures("small_steps")
RNG = np.random.default_rng(0)
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "rds_selection.json.gz"
AGGREGATION = {"max": "round_robin", "mean_max": "mean", "normalized_mean_max": "normalized_mean"}


def _golden() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(gzip.decompress(GOLDEN.read_bytes()))
    return loaded


def _case_name(case: dict[str, Any]) -> str:
    return f"{case['script']}-{case['selection_method']}-{'+'.join(case['tasks'])}"


@pytest.mark.parametrize("case", _golden()["cases"], ids=_case_name)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_authors_picks_are_reproduced(case: dict[str, Any], dtype: type) -> None:
    """In their order; those of the mean variants are a set (the authors list them worst first)."""
    golden = _golden()
    pool: np.ndarray = np.array(golden["pool"]).astype(dtype)
    aggregation = "max" if case["script"] == "get_top_optimized" else AGGREGATION[case["selection_method"]]
    queries = {task: np.array(golden["queries"][task]) for task in case["tasks"]}
    method = RDSPlus(aggregation=aggregation, on_duplicate="pass")
    features = Features(size=len(pool), embeddings=pool, queries=queries)
    picks = method.select(features, Budget(case["k"]), RNG).indices.tolist()
    if "mean" in case["selection_method"]:
        assert set(picks) == set(case["picks"])
        assert picks == case["picks"][::-1]
    else:
        assert picks == case["picks"]


def test_turns_and_lost_turns_by_hand() -> None:
    """Query a likes rows 0, 1, 2, query b rows 0, 2, 1."""
    pool = np.array([[1.0, 0.0], [1.0, 0.6], [1.0, -0.9]], dtype=np.float32)
    queries = {"task": np.array([[1.0, 0.2], [1.0, -0.3]], dtype=np.float32)}
    features = Features(size=3, embeddings=pool, queries=queries)
    assert RDSPlus().select(features, Budget(3), RNG).indices.tolist() == [0, 2, 1]
    assert RDSPlus(on_duplicate="pass").select(features, Budget(3), RNG).indices.tolist() == [0, 1, 2]


def test_a_row_that_no_longer_fits_is_treated_like_one_that_is_taken() -> None:
    pool = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [1.0, 0.3]], dtype=np.float32)
    features = Features(
        size=4, embeddings=pool, queries={"t": np.array([[1.0, 0.0]])}, num_tokens=np.array([4, 9, 3, 3])
    )
    assert RDSPlus().select(features, Budget(8, "tokens"), RNG).indices.tolist() == [0, 2]


def test_shares_by_source() -> None:
    """Rows by similarity are 0 to 5. Half of 4 rows each for x and y: of x rows 0 and 1, of y rows 4 and 5."""
    pool = np.array([[1.0, 0.1 * row] for row in range(6)], dtype=np.float32)
    sources = np.array(["x", "x", "x", "z", "y", "y"])
    features = Features(size=6, embeddings=pool, queries={"t": np.array([[1.0, 0.0]])}, sources=sources)
    method = RDSPlus(source_weights={"x": 1, "y": 1})
    assert method.select(features, Budget(4), RNG).indices.tolist() == [0, 1, 4, 5]
    assert method.extra_requires == {"sources"}
    assert RDSPlus().extra_requires == frozenset()
    with pytest.raises(ValueError, match="names flan, but the pool's sources are: x, y, z"):
        RDSPlus(source_weights={"flan": 1}).select(features, Budget(4), RNG)
    with pytest.raises(ValueError, match="source_weights: the weight of x is -1"):
        RDSPlus(source_weights={"x": -1})


def test_the_length_of_an_embedding_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    pool, queries = rng.standard_normal((60, 6)), {"t": rng.standard_normal((4, 6))}
    longer = (pool * np.exp2(rng.integers(-40, 40, (60, 1)))).astype(np.float64)
    picks = [
        RDSPlus().select(Features(size=60, embeddings=rows, queries=queries), Budget(20), RNG).indices.tolist()
        for rows in (pool, longer)
    ]
    assert picks[0] == picks[1]


def test_no_ranking_reads_rows_it_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that goes on below what was read must not start over, or a large pool would never finish."""
    passes: list[int] = []
    make = ranked.RankedRows.__init__

    def counted(self: Any, *args: Any, **options: Any) -> None:
        passes.append(1)
        make(self, *args, **options)

    monkeypatch.setattr(ranked.RankedRows, "__init__", counted)
    rng = np.random.default_rng(4)
    pool = np.repeat(rng.standard_normal((1, 3)), 48, axis=0)
    queries = {"a": rng.standard_normal((2, 3))}
    for mode in ("pass", "next_best"):
        passes.clear()
        picks = RDSPlus(on_duplicate=mode).select(Features(size=48, embeddings=pool, queries=queries), Budget(48), RNG)
        assert picks.indices.tolist() == list(range(48))
        assert len(passes) <= 48 // 6 + 2


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ({}, "name at least one target task"),
        ({"t": np.ones((2, 4))}, "dimension 4, the pool has 3"),
        ({"t": np.ones((0, 3))}, r"shape \(0, 3\)"),
        ({"t": np.array([[1.0, np.nan, 0.0]])}, "'t' has NaN or infinite values in rows 0"),
        ({"t": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])}, "zero vectors in rows 1"),
    ],
)
def test_queries_that_cannot_be_used_are_refused(queries: dict[str, np.ndarray], message: str) -> None:
    features = Features(size=2, embeddings=np.ones((2, 3)), queries=queries)
    with pytest.raises(ValueError, match=message):
        RDSPlus().select(features, Budget(1), RNG)


def test_embeddings_that_cannot_be_used_are_refused() -> None:
    queries = {"t": np.ones((1, 3))}
    for embeddings, message in (
        (None, r"features\.embeddings, which was not given"),
        (np.ones((3, 3)), r"shape \(3, 3\), expected \(2, dimension\)"),
        (np.ones((2, 3), dtype=np.int64), "dtype int64"),
    ):
        with pytest.raises(ValueError, match=message):
            RDSPlus().select(Features(size=2, embeddings=embeddings, queries=queries), Budget(1), RNG)


def test_a_hyperparameter_outside_its_values_is_refused() -> None:
    with pytest.raises(ValueError, match="on_duplicate='skip' is not one of next_best, pass"):
        RDSPlus(on_duplicate="skip")


def test_a_pool_that_is_too_small_is_refused() -> None:
    features = Features(size=2, embeddings=np.ones((2, 3)), queries={"t": np.ones((1, 3))})
    with pytest.raises(BudgetError, match="1 missing"):
        RDSPlus().select(features, Budget(3), RNG)
