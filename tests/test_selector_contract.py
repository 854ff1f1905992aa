"""What every selector promises, tried on all that conf/selection names.

What they do with their input is in test_selector_inputs.py, rounds are in test_selector_rounds.py.
"""

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
    first, second = (pick(selector, pool(), Budget(20), seed).indices.tolist() for seed in (0, 1))
    return first != second


def all_picks() -> dict[str, list[list[int]]]:
    """option -> picks by budget; another process computes the same."""
    return {name: [pick(s, pool(), b, 3).indices.tolist() for b in BUDGETS] for name, s in selectors().items()}


def _each(wanted: Callable[[Selector], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [name for name, selector in selectors().items() if wanted(selector)])


each = _each(lambda selector: True)
each_deterministic = _each(lambda selector: not uses_chance(selector))


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


def test_every_option_was_found() -> None:
    assert {"random", "random_balanced", "longest", "rds_plus"} <= selectors().keys()
    assert [name for name in selectors() if isinstance(selectors()[name], DrawsByCluster)] == ["kmq"]
    assert [name for name in selectors() if isinstance(selectors()[name], ExtendsPicks)] == ["kcenter_greedy"]
