from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from siftune.selection.interface import Budget, Selection
from siftune.selection.pool.store import Pool
from siftune.selection.pool.subset import read_indices, read_subset, write_subset
from siftune.selection.pool.subset_card import SubsetCard

CARD = SubsetCard(
    pool="mine",
    pool_hash="0123456789ab",
    method="RDSPlus",
    hyperparameters={"aggregation": "round_robin"},
    budget=Budget(3),
    seed=7,
    tokens=1234,
)
CALL = [{"type": "function", "function": {"name": "clock", "arguments": {"zone": "UTC", "digits": 2}}}]
VALUES = [
    {
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "α\u2028|"}],
        "source": "x",
        "quality": 2,
        "tags": ["t"],
        "level": 1,
        "rank": "easy",
    },
    {
        "messages": [
            {"role": "user", "content": "time?"},
            {"role": "assistant", "content": "", "tool_calls": CALL},
            {"role": "tool", "content": "12:00", "name": "clock"},
            {"role": "assistant", "content": "noon"},
        ],
        "source": "y|z",
        "level": "hard",
        "answer": {"hour": 12},
    },
    {
        "messages": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "2"}],
        "source": "x",
        "weight": 1.5,
        "checked": True,
    },
    {
        "messages": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "3"}],
        "source": "x",
        "weight": 2,
    },
]
PICKS = Selection(np.array([3, 1, 0]), np.array([0.75, np.nan, 0.5]))


@pytest.fixture
def pool(build: Callable[..., Any]) -> Pool:
    opened: Pool = build(VALUES)[0]
    return opened


@pytest.fixture
def folder(pool: Pool, tmp_path: Path) -> Path:
    target = tmp_path / "subset"
    write_subset(target, pool, PICKS, CARD)
    (target / "record.json").write_text(json.dumps({"kind": "subset", "summary": {"rows": 3}}))
    return target


def test_load_dataset_opens_it_beside_another_json_file(folder: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    subset = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert subset["rank"] == [0, 1, 2]
    assert subset["gain"] == [0.75, None, 0.5]
    assert subset["pool_row"] == [3, 1, 0]
    assert subset["source"] == ["x", "y|z", "x"]
    assert [turn["role"] for turn in subset[1]["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert json.loads(subset[1]["messages"][1]["tool_calls"]) == CALL
    assert subset[0]["messages"][0]["tool_calls"] is None
    assert subset[2]["scores"] == {"quality": 2.0}
    assert subset[0]["weight"] == 2.0


def test_the_columns_have_declared_types_whatever_the_first_rows_hold(pool: Pool, tmp_path: Path) -> None:
    """A column that is empty in the first ten megabytes breaks a reader that guesses types from them."""
    datasets = pytest.importorskip("datasets")
    write_subset(tmp_path / "s", pool, Selection(np.array([2, 3]), np.array([np.nan, np.nan])), CARD)
    features = datasets.load_dataset(str(tmp_path / "s"), split="train", cache_dir=str(tmp_path / "cache")).features
    assert features["gain"].dtype == "float64"
    assert features["checked"].dtype == "bool"
    assert features["tags"].feature.dtype == "string"


def test_reading_gives_back_the_rows_of_the_pool(folder: Path, pool: Pool) -> None:
    picks = list(read_subset(folder))
    assert [pick.row for pick in picks] == [pool.row(3), pool.row(1), pool.row(0)]
    assert [pick.rank for pick in picks] == [0, 1, 2]
    assert [pick.gain for pick in picks][::2] == [0.75, 0.5]
    assert math.isnan(picks[1].gain)
    np.testing.assert_array_equal(read_indices(folder), [3, 1, 0])


def test_the_card_states_provenance_and_the_mixture_before_and_after(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "| pool hash | `0123456789ab` |" in card
    assert '| aggregation | `"round_robin"` |' in card
    assert "| budget asked | 3 examples |" in card
    assert "| budget met | 3 rows (75.00% of the pool), 1,234 tokens |" in card
    assert "| x | 3 | 75.0% | 2 | 66.7% |" in card
    assert "| y\\|z | 1 | 25.0% | 1 | 33.3% |" in card


def test_a_card_that_siftune_did_not_write_is_refused(folder: Path) -> None:
    (folder / "README.md").write_text("# mine\n")
    with pytest.raises(ValueError, match=r"README\.md.*not written by siftune"):
        list(read_subset(folder))
