"""Sets of known diversity: that it is what is said of them, counted without any measure."""

from __future__ import annotations

from itertools import pairwise
from math import isnan

import numpy as np
import pytest

from siftune.selection.diversity import MeasureSettings, Reference
from siftune.selection.measures.simulated_pool import (
    BOILERPLATE,
    OUTLIER,
    SimulatedPoolSettings,
    SimulatedRows,
    make_pool,
)
from siftune.selection.measures.simulation import SCENARIOS, SimulatedSet, make_sets, order_agreement

SETTINGS = SimulatedPoolSettings(topics=6, topic_rows=60, outliers=60, boilerplate=3, boilerplate_copies=20, words=12)
ROWS, LEVELS = 60, 5


@pytest.fixture(scope="module")
def pool() -> SimulatedRows:
    return make_pool(SETTINGS, np.random.default_rng(0))


def sets_of(
    pool: SimulatedRows, scenario: str, *, seed: int = 1, noise: float = 0.0, rows: int = ROWS, levels: int = LEVELS
) -> list[SimulatedSet]:
    rng = np.random.default_rng(seed)
    return make_sets(pool, scenario, rows=rows, levels=levels, copy_noise=noise, rng=rng)


def test_the_pool_has_what_was_asked_for(pool: SimulatedRows) -> None:
    kinds, counts = np.unique(pool.topics, return_counts=True)
    assert dict(zip(kinds.tolist(), counts.tolist(), strict=True)) == (
        dict.fromkeys(range(6), 60) | {OUTLIER: 60, BOILERPLATE: 20, BOILERPLATE - 1: 20, BOILERPLATE - 2: 20}
    )
    assert len(pool.texts) == len(pool.embeddings) == len(pool)
    np.testing.assert_allclose(np.linalg.norm(pool.embeddings, axis=1), 1, rtol=1e-6)
    assert all(len(text.split(" ")) == 12 and text.replace(" ", "").isalpha() for text in pool.texts)


def test_rows_lie_as_far_from_their_topic_as_its_spread() -> None:
    settings = SimulatedPoolSettings(topics=2, topic_rows=400, dimension=256, spread=(0.5, 1.0))
    pool = make_pool(settings, np.random.default_rng(0))
    for topic, spread in enumerate(settings.spread):
        rows = pool.embeddings[pool.topics == topic]
        similar = (rows @ rows.T)[~np.eye(len(rows), dtype=bool)].mean()
        # Of two rows c + s u, with u at right angles to c and to each other: 1 / (1 + s^2).
        assert similar == pytest.approx(1 / (1 + spread**2), abs=0.02)


def test_outliers_are_far_from_all_and_boilerplate_is_near_its_like(pool: SimulatedRows) -> None:
    similar = pool.embeddings @ pool.embeddings.T - 2 * np.eye(len(pool))
    nearest = {kind: similar[pool.topics == kind].max(axis=1) for kind in (0, OUTLIER, BOILERPLATE)}
    assert nearest[BOILERPLATE].min() > 0.99 > nearest[0].min()
    assert nearest[OUTLIER].mean() < nearest[0].mean() - 0.2


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_sets_have_equally_many_rows_and_ever_more_of_what_is_counted(pool: SimulatedRows, scenario: str) -> None:
    sets = sets_of(pool, scenario)
    assert [len(one.rows) for one in sets] == [ROWS] * LEVELS
    amounts = [one.amount for one in sets]
    assert amounts == sorted(set(amounts))
    assert {one.rows.topics.tolist().count(OUTLIER) > 0 for one in sets} == (
        {True, False} if scenario == "outliers" else {False}
    )


@pytest.mark.parametrize("scenario", ["copies", "boilerplate"])
def test_distinct_rows_are_counted(pool: SimulatedRows, scenario: str) -> None:
    exact = SimulatedPoolSettings(**{**vars(SETTINGS), "copy_noise": 0.0})
    sets = sets_of(make_pool(exact, np.random.default_rng(0)), scenario)
    assert [len(np.unique(one.rows.embeddings, axis=0)) for one in sets] == [one.amount for one in sets]
    assert sets[-1].amount == ROWS
    assert all(set(range(6)) <= set(one.rows.topics.tolist()) for one in sets)


def test_boilerplate_is_in_every_set(pool: SimulatedRows) -> None:
    for one in sets_of(pool, "boilerplate"):
        repeated = one.rows.topics[one.rows.topics <= BOILERPLATE]
        assert set(repeated.tolist()) == {BOILERPLATE, BOILERPLATE - 1, BOILERPLATE - 2}
        assert len(repeated) - 3 == ROWS - one.amount


def test_topics_are_counted_and_have_equal_shares(pool: SimulatedRows) -> None:
    for one in sets_of(pool, "topics", rows=40, levels=6):
        _, counts = np.unique(one.rows.topics, return_counts=True)
        assert len(counts) == one.amount
        assert np.ptp(counts) <= 1


def test_shares_majorise_those_of_the_next_set(pool: SimulatedRows) -> None:
    counts = [np.sort(np.bincount(one.rows.topics, minlength=6))[::-1] for one in sets_of(pool, "evenness")]
    for less_even, more_even in pairwise(counts):
        assert (less_even.cumsum() >= more_even.cumsum()).all()
        assert less_even.min() >= 1
    assert counts[-1].tolist() == [10] * 6


def test_shares_of_the_defaults_majorise_too() -> None:
    pool = make_pool(SimulatedPoolSettings(), np.random.default_rng(0))
    sets = sets_of(pool, "evenness", rows=200, levels=10)
    sums = [np.sort(np.bincount(one.rows.topics, minlength=20))[::-1].cumsum() for one in sets]
    assert all((less_even >= more_even).all() for less_even, more_even in pairwise(sums))


def test_rows_that_are_no_outliers_are_counted(pool: SimulatedRows) -> None:
    for one in sets_of(pool, "outliers"):
        counts = np.bincount(one.rows.topics[one.rows.topics != OUTLIER], minlength=6)
        assert counts.sum() == one.amount
        assert np.ptp(counts) <= 1


def test_near_copies_are_moved_by_the_noise_and_differ_in_a_word(pool: SimulatedRows) -> None:
    exact, near = (sets_of(pool, "copies", noise=noise)[0].rows for noise in (0.0, 0.05))
    moved = np.linalg.norm(exact.embeddings - near.embeddings, axis=1)
    originals = moved < 1e-6
    assert originals.sum() == sets_of(pool, "copies")[0].amount
    np.testing.assert_allclose(moved[~originals], 0.05, rtol=0.15)
    _, first = np.unique(exact.embeddings, axis=0, return_index=True)
    assert set(np.flatnonzero(originals).tolist()) == set(first.tolist())
    original_texts = {text for text, original in zip(near.texts, originals.tolist(), strict=True) if original}
    for text in near.texts:
        words = text.split(" ")
        assert any(sum(a != b for a, b in zip(words, other.split(" "), strict=True)) <= 1 for other in original_texts)


def test_a_seed_draws_the_same_sets_and_another_seed_others(pool: SimulatedRows) -> None:
    first, again, other = (sets_of(pool, "topics", seed=seed)[2].rows for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.embeddings, again.embeddings)
    assert first.texts == again.texts
    assert first.texts != other.texts


@pytest.mark.parametrize(
    ("rows", "levels", "words"),
    [
        (60, 1, "levels=1"),
        (9, 3, "rows=9 must be more than topics=6 and boilerplate=3"),
        (12, 5, "levels=5 is more than"),
        (120, 3, "the pool has boilerplate_copies=20"),
    ],
)
def test_sets_that_cannot_be_drawn_are_refused(pool: SimulatedRows, rows: int, levels: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sets_of(pool, "boilerplate", rows=rows, levels=levels)


@pytest.mark.parametrize(
    ("key", "value"),
    [("topics", 1), ("outliers", 0), ("spread", (0.0, 1.0)), ("spread", (2.0, 1.0)), ("copy_noise", -1.0)],
)
def test_pools_that_cannot_be_are_refused(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=key):
        SimulatedPoolSettings(**{key: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "more", "expected"),
    [
        ([1.0, 2.0, 8.0], True, 1.0),
        ([1.0, 2.0, 8.0], False, -1.0),
        ([1.0, 8.0, 2.0], True, 0.5),
        ([3.0, 3.0, 3.0], True, 0.0),
    ],
)
def test_the_agreement_is_a_rank_correlation(values: list[float], more: bool, expected: float) -> None:
    assert order_agreement(values, more_is_more_diverse=more) == pytest.approx(expected)


def test_a_set_without_a_value_leaves_no_agreement() -> None:
    assert isnan(order_agreement([1.0, float("nan"), 3.0], more_is_more_diverse=True))


def _novelsum(pool: SimulatedRows, scenario: str, reference: SimulatedRows, **settings: float) -> float:
    measures = Reference(reference.embeddings, MeasureSettings(names=("novelsum",), **settings))  # type: ignore[arg-type]
    sets = sets_of(pool, scenario, noise=0.05)
    values = [measures.measure(one.rows.embeddings)["novelsum"] for one in sets]
    return order_agreement(values, more_is_more_diverse=True)


def test_only_the_density_tells_outliers_from_diversity() -> None:
    pool = make_pool(SimulatedPoolSettings(), np.random.default_rng(0))
    assert _novelsum(pool, "outliers", pool) == pytest.approx(1)
    assert _novelsum(pool, "outliers", pool, density_power=0) == pytest.approx(-1)


def test_rows_that_the_pool_repeats_look_dense_until_the_reference_has_each_once(pool: SimulatedRows) -> None:
    once = pool.without_repeats()
    assert len(once) == 6 * 60 + 60 + 3
    assert set(once.topics.tolist()) == set(pool.topics.tolist())
    assert _novelsum(pool, "boilerplate", pool) < -0.8
    assert _novelsum(pool, "boilerplate", once) == pytest.approx(1)
