"""What every selector reads of its input: the signals it names, finite numbers, any precision, blocks of any size."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from siftune.runs.options import shipped_selectors
from siftune.selection.interface import Budget, Features, Selection, Selector
from siftune.selection.kernels import similarity

SIZE = 160
BUDGETS = [Budget(40), Budget(0.3, "fraction"), Budget(900, "tokens")]
SELECTORS: dict[str, Selector] = dict(sorted(shipped_selectors().items()))
WORDS = [f"word{number}" for number in range(60)]
SCORES = ("quality", "complexity", "deita", "ifd", "perplexity", "reward")


def pool() -> Features:
    """Every signal there is, without ties."""
    rng = np.random.default_rng(0)
    return Features(
        size=SIZE,
        embeddings=rng.standard_normal((SIZE, 12)).astype(np.float32),
        scores={name: rng.random(SIZE) for name in SCORES},
        tags=csr_array((rng.random((SIZE, 9)) < 0.3).astype(np.float64)),
        tag_embeddings=rng.standard_normal((9, 5)).astype(np.float32),
        queries={"a": rng.standard_normal((3, 12)), "b": rng.standard_normal((4, 12))},
        gradients=[(rate, rng.standard_normal((SIZE, 10)).astype(np.float32)) for rate in (2e-5, 1e-5)],
        query_gradients={task: [rng.standard_normal((3, 10)) for _ in range(2)] for task in ("a", "b")},
        trajectories=rng.random((SIZE, 6)).astype(np.float32),
        texts=[" ".join(rng.choice(WORDS, rng.integers(3, 30))) for _ in range(SIZE)],
        sources=rng.choice(["x", "y", "z"], SIZE, p=[0.7, 0.2, 0.1]),
        num_tokens=rng.permutation(np.arange(5, 5 + SIZE)),
        num_response_tokens=rng.permutation(np.arange(3, 3 + SIZE)),
    )


def pick(selector: Selector, features: Features, budget: Budget) -> Selection:
    return selector.select(features, budget, np.random.default_rng(0))


def _spoil_array(features: Features, field: str, value: float) -> Features:
    spoilt = np.array(getattr(features, field), dtype=np.float64)
    spoilt[[11, 42], ...] = value
    return dataclasses.replace(features, **{field: spoilt})


def _spoil_scores(features: Features, value: float) -> Features:
    scores = {name: values.copy() for name, values in features.scores.items()}
    for values in scores.values():
        values[[11, 42]] = value
    return dataclasses.replace(features, scores=scores)


def _spoil_gradients(features: Features, value: float) -> Features:
    spoilt = [(rate, rows.copy()) for rate, rows in features.gradients or []]
    spoilt[1][1][[11, 42], 0] = value
    return dataclasses.replace(features, gradients=spoilt)


SPOIL: dict[str, Callable[[Features, float], Features]] = {
    "gradients": _spoil_gradients,
    "trajectories": lambda features, value: _spoil_array(features, "trajectories", value),
    "embeddings": lambda features, value: _spoil_array(features, "embeddings", value),
    "num_tokens": lambda features, value: _spoil_array(features, "num_tokens", value),
    "scores": _spoil_scores,
}


@pytest.mark.parametrize("name", SELECTORS)
def test_only_the_signals_it_names_are_read(name: str) -> None:
    selector, features = SELECTORS[name], pool()
    required = {field: getattr(features, field) for field in selector.requires}
    bare = Features(size=SIZE, **required)
    for budget in BUDGETS:
        given = dataclasses.replace(bare, num_tokens=features.num_tokens) if budget.unit == "tokens" else bare
        assert len(pick(selector, given, budget).indices)


@pytest.mark.parametrize("name", SELECTORS)
def test_a_token_budget_needs_token_counts(name: str) -> None:
    with pytest.raises(ValueError, match="num_tokens"):
        pick(SELECTORS[name], dataclasses.replace(pool(), num_tokens=None), Budget(900, "tokens"))


@pytest.mark.parametrize("name", [name for name, selector in SELECTORS.items() if selector.requires & SPOIL.keys()])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_with_their_rows(name: str, value: float) -> None:
    selector = SELECTORS[name]
    for field in selector.requires & SPOIL.keys():
        # Response lengths stand in for whole ones where they are given.
        features = dataclasses.replace(pool(), num_response_tokens=None)
        with pytest.raises(ValueError, match="rows 11, 42"):
            pick(selector, SPOIL[field](features, value), Budget(10))


@pytest.mark.parametrize("name", [name for name, selector in SELECTORS.items() if "embeddings" in selector.requires])
def test_embeddings_may_be_memory_mapped_or_of_half_precision(name: str, tmp_path: Path) -> None:
    selector, features = SELECTORS[name], pool()
    assert features.embeddings is not None
    half = features.embeddings.astype(np.float16)
    np.save(tmp_path / "half.npy", half)
    np.save(tmp_path / "single.npy", half.astype(np.float32))
    variants: list[Any] = [half, half.astype(np.float32), half.astype(np.float64)]
    variants += [np.load(tmp_path / file, mmap_mode="r") for file in ("half.npy", "single.npy")]
    for budget in BUDGETS:
        picks = [
            pick(selector, dataclasses.replace(features, embeddings=variant), budget).indices.tolist()
            for variant in variants
        ]
        assert picks == [picks[0]] * len(picks)


@pytest.mark.parametrize("name", SELECTORS)
def test_the_size_of_the_blocks_does_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [pick(SELECTORS[name], pool(), budget).indices.tolist() for budget in BUDGETS]
    for rows in (1, 13, 64):
        monkeypatch.setattr(similarity, "BLOCK_ROWS", rows)
        assert [pick(SELECTORS[name], pool(), budget).indices.tolist() for budget in BUDGETS] == expected
