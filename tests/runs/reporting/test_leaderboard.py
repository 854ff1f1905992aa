"""The leaderboard: intervals and tests against figures worked out by hand or by scipy, from samples on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from siftune.runs.reporting.content import Cell, Part, Table
from siftune.runs.reporting.headline import judged_by, tasks_in, with_headline
from siftune.runs.reporting.intervals import RESAMPLES, intervals_of, resampled_scores
from siftune.runs.reporting.leaderboard import leaderboard_part
from siftune.runs.reporting.records import RunRecord, Score
from siftune.runs.reporting.rows import sections
from siftune.runs.reporting.significance import against_random

Values = Mapping[str, Sequence[Any]]
# 20 questions: 10 go from wrong to right, 2 from right to wrong, 5 are right in both, 3 wrong in both.
BEFORE = [0] * 10 + [1] * 2 + [1] * 5 + [0] * 3
AFTER = [1] * 10 + [0] * 2 + [1] * 5 + [0] * 3
P = 158 / 4096
"""McNemar: 2 x P(at most 2 of 12) = 2 x (1 + 12 + 66) / 4096."""


def run(store: Path, label: str, values: Values, seed: int = 0, samples: bool = True, **changes: Any) -> RunRecord:
    """A run with a document a value; tasks that begin with loss have pairs (nats, bytes), the others are 0 or 1."""
    fingerprint = hashlib.sha256(f"{label}{seed}{changes}".encode()).hexdigest()[:16]
    scores = {name: _score(name, found) for name, found in values.items()}
    if samples:
        folder = store / "evaluation" / f"suite-{fingerprint}"
        (folder / "samples").mkdir(parents=True)
        (folder / "record.json").write_text("{}")
        for name, found in values.items():
            lines = [_sample(name, number, value) for number, value in enumerate(found)]
            (folder / "samples" / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    headline = [name for name in values if not name.startswith("loss")]
    config = {"evaluate": {"tasks": {name: {} for name in values}}, "selection": {"class": label}}
    fields: dict[str, Any] = {
        "folder": store / "run" / fingerprint, "fingerprint": fingerprint, "created": "2026", "seconds": 1.0,
        "commit": None, "label": label, "group": None, "seed": seed, "model": "tiny", "pool": "skills",
        "pool_fingerprint": "aaaa", "targets": (), "budget": "8 examples", "suite": "suite", "scores": scores,
        "headline": np.mean([scores[name].value for name in headline]) if headline else None,
        "headline_tasks": tuple(headline), "evaluation": fingerprint,
        "selection": None if label == "base" else {"rows": 8}, "training": None if label == "base" else {},
        "config": config | changes,
    }  # fmt: skip
    return RunRecord(**fields)


def _score(name: str, values: Sequence[Any]) -> Score:
    lower = name.startswith("loss")
    value = sum(v[0] for v in values) / sum(v[1] for v in values) if lower else sum(values) / len(values)
    metric = "nats_per_byte" if lower else "exact_match"
    return Score(metric=metric, value=value, stderr=0.1, higher_is_better=not lower, samples=len(values))


def _sample(task: str, number: int, value: Any) -> dict[str, Any]:
    asked = f"question {number} of {task}"
    return {
        "task": task, "doc_id": number, "target": "x", "arguments": [[asked, {}]], "resps": [["y"]], "filter": "none",
        "filtered_resps": ["y"], "doc_hash": asked, "prompt_hash": asked, "target_hash": "x",
        "nats_per_byte" if task.startswith("loss") else "exact_match": value,
    }  # fmt: skip


def table_of(part: Part | None, name: str) -> Table:
    assert part is not None
    return next(table for table in part.tables if table.name == name)


def cell(table: Table, row: str, header: str) -> Cell:
    position = [column.header for column in table.columns].index(header)
    return next(cells[position] for cells in table.rows if cells[0].text == row)


def test_interval_over_documents_is_scipys(tmp_path: Path) -> None:
    from scipy.stats import bootstrap

    (section,) = sections([run(tmp_path, "random", {"em": BEFORE})])
    interval = intervals_of(section, {})["random", "em"]
    assert interval.documents == 20
    theirs = bootstrap(
        (np.array(BEFORE),), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    # Means of 20 questions go in steps of 0.05, so that percentiles of other draws lie on the same step or the next.
    assert (interval.low, interval.high) == pytest.approx(tuple(theirs), abs=0.051)


def test_resampled_scores_of_known_draws() -> None:
    values = np.array([[1.0, 4.0], [3.0, 0.0], [5.0, 2.0]])
    weights = np.array([1.0, 2.0, 4.0])
    counts = np.random.default_rng(7).multinomial(3, [1 / 3] * 3, size=50)
    found = resampled_scores(values, weights, "nats_per_byte", 50, np.random.default_rng(7))
    expected = np.array([[sum(row * values[:, k]) / sum(row * weights) for k in (0, 1)] for row in counts])
    np.testing.assert_allclose(found, expected)


def test_interval_averages_the_seeds_on_the_same_documents(tmp_path: Path) -> None:
    # The second seed answers what the first does not: the average of the two is 1/2 on every document.
    runs = [run(tmp_path, "a", {"em": BEFORE}), run(tmp_path, "a", {"em": [1 - v for v in BEFORE]}, seed=1)]
    (section,) = sections(runs)
    interval = intervals_of(section, {})["a", "em"]
    assert (interval.low, interval.high, interval.documents) == (pytest.approx(0.5), pytest.approx(0.5), 20)


def test_headline_interval_draws_in_each_task(tmp_path: Path) -> None:
    (section,) = sections([run(tmp_path, "a", {"em": BEFORE, "em_2": [1] * 20})])
    alone, headline = (intervals_of(section, {})["a", name] for name in ("em", "headline"))
    assert (headline.low, headline.high) == (pytest.approx((alone.low + 1) / 2), pytest.approx((alone.high + 1) / 2))
    assert headline.documents == 40


def test_without_samples_the_interval_is_over_seeds(tmp_path: Path) -> None:
    values = [[1] * 4 + [0] * 16, [1] * 8 + [0] * 12, [1] * 12 + [0] * 8]
    runs = [run(tmp_path, "a", {"em": found}, seed=seed, samples=False) for seed, found in enumerate(values)]
    (section,) = sections(runs)
    interval = intervals_of(section, {})["a", "em"]
    drawn = np.random.default_rng(0).integers(3, size=(RESAMPLES, 3))
    low, high = np.quantile(np.array([0.2, 0.4, 0.6])[drawn].mean(axis=1), [0.025, 0.975])
    assert (interval.low, interval.high, interval.documents) == (pytest.approx(low), pytest.approx(high), None)
    assert intervals_of(sections(runs[:1])[0], {}) == {}


def test_a_score_that_is_not_the_mean_of_its_documents_has_no_interval_over_them(tmp_path: Path) -> None:
    import dataclasses

    one = run(tmp_path, "a", {"em": BEFORE})
    other = dataclasses.replace(one, scores={"em": dataclasses.replace(one.scores["em"], value=0.9)})
    assert intervals_of(sections([other])[0], {}) == {}


def test_paired_tests_against_random_with_holm(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, "random", {"em": BEFORE}),
        run(tmp_path, "good", {"em": AFTER}),
        run(tmp_path, "same", {"em": BEFORE}),
    ]
    (section,) = sections(runs)
    found = against_random(section, {})
    assert found is not None
    good, same = found.found["good", "em"], found.found["same", "em"]
    assert (good.p, good.adjusted) == (pytest.approx(P), pytest.approx(2 * P))
    assert (same.p, same.adjusted) == (1.0, 1.0)
    assert (good.better, good.worse, good.questions) == (10, 2, 20)
    assert good.improvement.mean == pytest.approx(0.4)
    assert good.interval is not None
    assert 0 < good.interval[0] < 0.4 < good.interval[1] < 0.8
    # 0.077 is no longer below 0.05.
    assert not good.significant


def test_lower_is_better_everywhere(tmp_path: Path) -> None:
    pairs = [(4.0 + number / 10, 2.0) for number in range(8)]
    runs = [
        run(tmp_path, "random", {"loss": pairs}),
        run(tmp_path, "good", {"loss": [(nats - 1 - number / 8, size) for number, (nats, size) in enumerate(pairs)]}),
        run(tmp_path, "bad", {"loss": [(nats + 1, size) for nats, size in pairs]}),
    ]
    part = leaderboard_part(runs)
    table = table_of(part, "leaderboard")
    assert [column.header for column in table.columns] == ["method", "seeds", "loss ↓", "95% interval"]
    assert [row[0].text for row in table.rows] == ["random", "good", "bad"]
    best = cell(table, "good", "loss ↓")
    assert best.best
    # 8 of 8 documents better: Wilcoxon's exact p is 2 / 2^8, times two methods.
    assert best.text.endswith("*")
    against = table_of(part, "against-random")
    assert cell(against, "good", "p").value == pytest.approx(2 / 256)
    assert cell(against, "good", "adjusted p").value == pytest.approx(4 / 256)
    better, worse = (cell(against, name, "better than random by").value for name in ("good", "bad"))
    assert isinstance(better, float)
    assert isinstance(worse, float)
    assert better > 0 > worse


def test_losses_without_a_headline_are_judged_by_their_mean(tmp_path: Path) -> None:
    losses = {"loss_a": [(1.0, 1.0)] * 3, "loss_b": [(3.0, 1.0)] * 3}
    (section,) = sections([run(tmp_path, "random", losses), run(tmp_path, "a", losses | {"loss_b": [(2.0, 1.0)] * 3})])
    judged = with_headline(section)
    column = judged_by(judged)
    assert column is not None
    assert (column.name, column.higher_is_better) == ("mean of 2", False)
    assert {row.name: row.scores["mean of 2"].mean for row in judged.rows} == {"random": 2.0, "a": 1.5}
    assert tasks_in(judged, column) == ("loss_a", "loss_b")


def test_methods_meet_the_random_selection_of_their_own_training(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, label, {"em": AFTER if (label, epochs) == ("a", 3) else BEFORE}, finetune={"epochs": epochs})
        for label in ("random", "a")
        for epochs in (1, 3)
    ]
    (section,) = sections(runs)
    found = against_random(section, {})
    assert found is not None
    assert found.found["a (epochs=1)", "em"].p == 1.0
    assert found.found["a (epochs=3)", "em"].p == pytest.approx(P)


def test_other_questions_or_no_common_seed_are_told_instead_of_tested(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, "random", {"em": BEFORE}),
        run(tmp_path, "random", {"em": BEFORE}, seed=1),
        run(tmp_path, "late", {"em": AFTER}, seed=5),
        run(tmp_path, "gone", {"em": AFTER}, samples=False),
    ]
    part = leaderboard_part(runs)
    assert part is not None
    against = table_of(part, "against-random")
    assert cell(against, "late", "p").text == cell(against, "gone", "p").text == "–"
    (reasons,) = (text for text in part.text if text.startswith("Without a test"))
    assert "no seed in common" in reasons
    assert "is not in" in reasons


def test_names_are_unique_over_sections_and_base_is_not_tested(tmp_path: Path) -> None:
    runs = [run(tmp_path, "base", {"em": BEFORE})]
    for budget in ("8 examples", "16 examples"):
        for label in ("random", "a"):
            one = run(tmp_path, label, {"em": AFTER}, budget={"unit": budget})
            runs.append(RunRecord(**{**vars(one), "budget": budget}))
    part = leaderboard_part(runs)
    assert part is not None
    names = [table.name for table in part.tables] + [picture.name for picture in part.pictures]
    assert len(set(names)) == len(names) == 6
    assert [row[0].text for row in table_of(part, "against-random-2").rows] == ["a"]


def test_nothing_evaluated_is_no_leaderboard(tmp_path: Path) -> None:
    assert leaderboard_part([run(tmp_path, "random", {})]) is None
