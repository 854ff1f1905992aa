"""What every selector promises, tried on all that conf/selection names."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.sparse import csr_array

from siftune.selection.interface import Budget, BudgetError, Features, Selection, Selector
from siftune.selection.kernels import similarity
from siftune.selection.methods.combined import CombinedScore
from siftune.selection.methods.instag import InsTag
from siftune.selection.methods.zip import ZIP
from siftune.selection.rounds import DrawsByCluster, ExtendsPicks

CONF = Path(__file__).resolve().parent.parent / "conf" / "selection"
SIZE = 160
FALL_SHORT = {"deita", "repr_filter", "ifd", "superfiltering", "score_then_filter"}
"""Filters: rows that do not pass are not picked, so that a budget may be refused though the pool has enough rows."""
BUDGETS = [Budget(40), Budget(0.3, "fraction"), Budget(900, "tokens")]


WORDS = [f"word{number}" for number in range(60)]
SCORES = ("quality", "complexity", "deita", "ifd", "perplexity", "reward")


@cache
def selectors() -> dict[str, Selector]:
    """option -> selector, as the YAML gives it; options without a class (no selection at all) are left out."""
    found = {}
    for path in sorted(CONF.glob("*.yaml")):
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
        # An option that sets other groups as well (its scorer, its encoder) has the method under `selection`.
        fields = (fields or {}).get("selection") or fields
        if fields and "_target_" in fields:
            module, _, name = fields.pop("_target_").rpartition(".")
            found[path.stem] = getattr(import_module(module), name)(**fields)
    return found


def pool(size: int = SIZE, seed: int = 0) -> Features:
    """Every signal there is, without ties."""
    rng = np.random.default_rng(seed)
    return Features(
        size=size,
        embeddings=rng.standard_normal((size, 12)).astype(np.float32),
        scores={name: rng.random(size) for name in SCORES},
        tags=csr_array((rng.random((size, 9)) < 0.3).astype(np.float64)),
        tag_embeddings=rng.standard_normal((9, 5)).astype(np.float32),
        queries={"a": rng.standard_normal((3, 12)), "b": rng.standard_normal((4, 12))},
        gradients=[(rate, rng.standard_normal((size, 10)).astype(np.float32)) for rate in (2e-5, 1e-5)],
        query_gradients={task: [rng.standard_normal((3, 10)) for _ in range(2)] for task in ("a", "b")},
        trajectories=rng.random((size, 6)).astype(np.float32),
        texts=[" ".join(rng.choice(WORDS, rng.integers(3, 30))) for _ in range(size)],
        sources=rng.choice(["x", "y", "z"], size, p=[0.7, 0.2, 0.1]),
        num_tokens=rng.permutation(np.arange(5, 5 + size)),
        num_response_tokens=rng.permutation(np.arange(3, 3 + size)),
    )


def pick(selector: Selector, features: Features, budget: Budget, seed: int = 0) -> Selection:
    return selector.select(features, budget, np.random.default_rng(seed))


def rows_of(features: Features, order: np.ndarray) -> Features:
    """The pool with its rows in another order, or some of them."""
    moved: dict[str, Any] = {
        name: value[order]
        for name in ("embeddings", "tags", "sources", "num_tokens", "num_response_tokens", "trajectories")
        if (value := getattr(features, name)) is not None
    }
    scores = {name: values[order] for name, values in features.scores.items()}
    moved["gradients"] = [(rate, rows[order]) for rate, rows in features.gradients or []]
    moved["texts"] = [features.texts[row] for row in order] if features.texts is not None else None
    return dataclasses.replace(features, size=len(order), scores=scores, **moved)


def copies(features: Features) -> Features:
    """A pool whose rows are all the same."""
    return rows_of(features, np.zeros(features.size, dtype=int))


def uses_chance(selector: Selector) -> bool:
    budget = Budget(20)
    first, second = (pick(selector, pool(), budget, seed).indices.tolist() for seed in (0, 1))
    return first != second


def all_picks() -> dict[str, list[list[int]]]:
    """option -> picks by budget; another process computes the same."""
    return {name: [pick(s, pool(), b, 3).indices.tolist() for b in BUDGETS] for name, s in selectors().items()}


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


def _each(wanted: Callable[[Selector], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [name for name, selector in selectors().items() if wanted(selector)])


each = _each(lambda selector: True)
each_deterministic = _each(lambda selector: not uses_chance(selector))
each_with_numbers = _each(lambda selector: bool(selector.requires & SPOIL.keys()))
each_with_embeddings = _each(lambda selector: "embeddings" in selector.requires)
each_in_rounds = _each(lambda selector: isinstance(selector, (DrawsByCluster, ExtendsPicks)))
each_by_cluster = _each(lambda selector: isinstance(selector, DrawsByCluster))

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


@each
@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget.unit)
def test_the_budget_is_met_exactly_with_distinct_rows(name: str, budget: Budget) -> None:
    features = pool()
    selection = pick(selectors()[name], features, budget)
    picked, tokens = selection.indices.tolist(), features.num_tokens
    assert selection.indices.dtype == np.int64
    assert selection.gains.dtype == np.float64
    assert selection.gains.shape == selection.indices.shape
    assert len(set(picked)) == len(picked)
    assert set(picked) <= set(range(SIZE))
    if budget.unit != "tokens":
        assert len(picked) == budget.count(SIZE)
        return
    assert tokens is not None
    left = budget.amount - tokens[picked].sum()
    assert left >= 0
    assert tokens[np.setdiff1d(np.arange(SIZE), picked)].min() > left


@each
def test_a_budget_that_the_pool_cannot_meet_is_refused(name: str) -> None:
    features = pool()
    assert features.num_tokens is not None
    with pytest.raises(BudgetError, match="1 missing"):
        pick(selectors()[name], features, Budget(SIZE + 1))
    with pytest.raises(BudgetError, match="7 missing"):
        pick(selectors()[name], features, Budget(int(features.num_tokens.sum()) + 7, "tokens"))
    with pytest.raises(BudgetError, match="no row fits"):
        pick(selectors()[name], features, Budget(4, "tokens"))
    with pytest.raises(BudgetError, match="no row at all"):
        pick(selectors()[name], features, Budget(0.001, "fraction"))


@each
def test_the_whole_pool_can_be_picked(name: str) -> None:
    features = pool()
    assert features.num_tokens is not None
    for budget in (Budget(SIZE), Budget(1.0, "fraction"), Budget(int(features.num_tokens.sum()), "tokens")):
        try:
            assert sorted(pick(selectors()[name], features, budget).indices.tolist()) == list(range(SIZE))
        except BudgetError:
            assert name in FALL_SHORT


@each
def test_a_pool_of_one_row(name: str) -> None:
    assert pick(selectors()[name], pool(1), Budget(1)).indices.tolist() == [0]
    with pytest.raises(BudgetError):
        pick(selectors()[name], pool(1), Budget(2))


@each
def test_only_the_signals_it_names_are_read(name: str) -> None:
    selector, features = selectors()[name], pool()
    required = {field: getattr(features, field) for field in selector.requires}
    bare = Features(size=SIZE, **required)
    for budget in BUDGETS:
        given = dataclasses.replace(bare, num_tokens=features.num_tokens) if budget.unit == "tokens" else bare
        assert len(pick(selector, given, budget).indices)


@each
def test_a_token_budget_needs_token_counts(name: str) -> None:
    with pytest.raises(ValueError, match="num_tokens"):
        pick(selectors()[name], dataclasses.replace(pool(), num_tokens=None), Budget(900, "tokens"))


@each
def test_the_same_seed_gives_the_same_picks(name: str) -> None:
    for budget in BUDGETS:
        first, second = (pick(selectors()[name], pool(), budget, 5) for _ in range(2))
        assert first.indices.tolist() == second.indices.tolist()
        np.testing.assert_array_equal(first.gains, second.gains)


def test_another_process_with_another_thread_count_gives_the_same_picks() -> None:
    code = f"import runpy, json; print(json.dumps(runpy.run_path({str(Path(__file__))!r})['all_picks']()))"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "7"}
    finished = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    theirs, ours = json.loads(finished.stdout), all_picks()
    assert [name for name in ours if ours[name] != theirs[name]] == []


@each_deterministic
def test_ties_go_to_the_lower_row(name: str) -> None:
    selector = selectors()[name]
    for budget in BUDGETS:
        try:
            picked = pick(selector, copies(pool()), budget).indices.tolist()
        except BudgetError:
            assert name in FALL_SHORT
        else:
            assert picked == list(range(len(picked)))


# InsTag goes by numbers of tags, ZIP by whole bytes, the combination of scores by sums of ranks: in a small pool many
# rows are tied, and ties go by the row.
@_each(lambda selector: not uses_chance(selector) and not isinstance(selector, (InsTag, ZIP, CombinedScore)))
def test_the_order_of_the_pool_does_not_matter(name: str) -> None:
    selector = selectors()[name]
    order = np.random.default_rng(8).permutation(SIZE)
    for budget in BUDGETS:
        moved = pick(selector, rows_of(pool(), order), budget)
        assert order[moved.indices].tolist() == pick(selector, pool(), budget).indices.tolist()


@each
def test_copies_of_rows_are_rows_of_their_own(name: str) -> None:
    doubled = rows_of(pool(), np.repeat(np.arange(SIZE // 2), 2))
    try:
        picked = pick(selectors()[name], doubled, Budget(100)).indices.tolist()
    except BudgetError:
        assert name in FALL_SHORT
    else:
        assert len(set(picked)) == 100


@each_with_numbers
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_with_their_rows(name: str, value: float) -> None:
    selector = selectors()[name]
    for field in selector.requires & SPOIL.keys():
        # Response lengths stand in for whole ones where they are given.
        features = dataclasses.replace(pool(), num_response_tokens=None)
        with pytest.raises(ValueError, match="rows 11, 42"):
            pick(selector, SPOIL[field](features, value), Budget(10))


@each_with_embeddings
def test_embeddings_may_be_memory_mapped_or_of_half_precision(name: str, tmp_path: Path) -> None:
    selector, features = selectors()[name], pool()
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


@each
def test_the_size_of_the_blocks_does_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [pick(selectors()[name], pool(), budget).indices.tolist() for budget in BUDGETS]
    for rows in (1, 13, 64):
        monkeypatch.setattr(similarity, "BLOCK_ROWS", rows)
        assert [pick(selectors()[name], pool(), budget).indices.tolist() for budget in BUDGETS] == expected


@each
def test_the_table_of_methods_has_what_it_shows(name: str) -> None:
    kind = type(selectors()[name])
    assert isinstance(selectors()[name], Selector)
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert kind.requires <= {field.name for field in dataclasses.fields(Features)}  # type: ignore[attr-defined]
    for text in (kind.paper, kind.cost, kind.__doc__):  # type: ignore[attr-defined]
        assert isinstance(text, str)
        assert text.strip()


@each_in_rounds
def test_rounds_give_their_budget_and_no_row_twice(name: str) -> None:
    tokens, taken = pool().num_tokens, [5, 150, 31]
    assert tokens is not None
    for number, budget in enumerate(2 * BUDGETS[:1] + BUDGETS[1:]):
        selection = next_round(selectors()[name], taken, budget, seed=number)
        again = next_round(selectors()[name], taken, budget, seed=number)
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
        assert sorted(next_round(selectors()[name], taken, budget).indices.tolist()) == rest
        with pytest.raises(BudgetError, match="1 missing"):
            next_round(selectors()[name], taken, more)
    shortest = int(tokens[rest].min())
    with pytest.raises(BudgetError, match=f"the shortest row has {shortest}"):
        next_round(selectors()[name], taken, Budget(shortest - 1, "tokens"))
    with pytest.raises(BudgetError, match="1 missing"):
        next_round(selectors()[name], list(range(SIZE)), Budget(1))


@each_by_cluster
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_any_weights_meet_the_budget(name: str, weights: np.ndarray) -> None:
    """Clusters without a row, used up, or of no weight: the others give what is missing."""
    selector = selectors()[name]
    taken = [row for row in range(SIZE) if CLUSTERS[row] == 2 and row > 9]
    for budget in BUDGETS:
        picked = next_round(selector, taken, budget, weights=weights).indices.tolist()
        assert not set(picked) & set(taken)
        assert len(set(picked)) == len(picked)
        assert budget.unit == "tokens" or len(picked) == budget.count(SIZE)


@each_by_cluster
def test_clusters_give_rows_in_proportion_to_their_weights(name: str) -> None:
    picked = next_round(selectors()[name], [], Budget(20), weights=np.array([8.0, 4, 2, 4, 2, 0, 0])).indices
    assert np.bincount(CLUSTERS[picked], minlength=7).tolist() == [8, 4, 2, 4, 2, 0, 0]
    # Cluster 0 has 32 rows; of 50, the 8 : 2 that it leaves are shared by the others.
    picked = next_round(selectors()[name], [], Budget(50), weights=np.array([8.0, 1, 0, 1, 0, 0, 0])).indices
    assert np.bincount(CLUSTERS[picked], minlength=7).tolist() == [32, 9, 0, 9, 0, 0, 0]


@each_by_cluster
def test_selecting_is_drawing_by_the_sizes_of_its_clusters(name: str) -> None:
    selector, features = selectors()[name], pool()
    assert isinstance(selector, DrawsByCluster)
    for budget in BUDGETS:
        rng = np.random.default_rng(3)
        labels = selector.partition(features, rng)
        assert labels.shape == (SIZE,)
        assert labels.min() == 0
        nobody = np.zeros(SIZE, dtype=bool)
        drawn = selector.draw(features, labels, np.bincount(labels), nobody, budget, rng)
        assert drawn.indices.tolist() == pick(selector, features, budget, 3).indices.tolist()


@each_by_cluster
def test_clusters_and_weights_that_do_not_go_together_are_refused(name: str) -> None:
    selector, features, rng = selectors()[name], pool(), np.random.default_rng(0)
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


def test_every_option_was_found() -> None:
    assert {"random", "random_balanced", "longest", "rds_plus"} <= selectors().keys()
    assert [name for name in selectors() if isinstance(selectors()[name], DrawsByCluster)] == ["kmq"]
    assert [name for name in selectors() if isinstance(selectors()[name], ExtendsPicks)] == ["kcenter_greedy"]
