"""Curves over budgets and settings: which runs make one, and the paper's beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from siftune.runs.paper import Axis, Paper
from siftune.runs.reporting.curves import curves_part, panels_of, printed_curves
from siftune.runs.reporting.families import families
from siftune.runs.reporting.records import RunRecord, Score
from siftune.runs.reproduction.comparison import PaperComparison
from siftune.runs.reproduction.printed import PrintedRow


def run(label: str, score: float, seed: int = 0, amount: int = 8, **config: Any) -> RunRecord:
    trained = label != "base"
    fields: dict[str, Any] = {
        "folder": Path("none"), "fingerprint": f"{label}{seed}{amount}{config}", "created": "2026", "seconds": 1.0,
        "commit": None, "label": label, "group": None, "seed": seed, "model": "tiny", "pool": "skills",
        "pool_fingerprint": "aaaa", "targets": (), "budget": f"{amount} examples", "suite": "s",
        "scores": {"em": Score(metric="acc", value=score, stderr=0.01, higher_is_better=True, samples=9)},
        "headline": None, "headline_tasks": (), "selection": {"rows": amount} if trained else None,
        "training": {} if trained else None,
        "config": {"seed": seed, "budget": {"amount": amount, "unit": "examples"}} | config,
    }  # fmt: skip
    return RunRecord(**fields)


def kmq(clusters: int, score: float, seed: int = 0, **config: Any) -> RunRecord:
    return run(f"kmq(num_clusters={clusters})", score, seed, selection={"num_clusters": clusters}, **config)


def test_ablation_of_a_setting_that_the_label_shows() -> None:
    runs = [run("base", 0.1), run("random", 0.3)]
    runs += [kmq(k, 0.01 * k + 0.1 * seed, seed) for k in (16, 8, 32) for seed in (0, 1)]
    (family,) = families(runs)
    (panel,) = panels_of(family)
    (curve,) = panel.curves
    assert (panel.key, curve.name) == ("selection.num_clusters", "kmq")
    assert {value: statistic.mean for value, statistic in curve.points.items()} == pytest.approx(
        {8.0: 0.13, 16.0: 0.21, 32.0: 0.37}
    )
    assert [statistic.std for statistic in curve.points.values()] == pytest.approx([0.1 / 2**0.5] * 3)
    part = curves_part(runs)
    assert part is not None
    assert [picture.name for picture in part.pictures] == ["ablation-curves"]


def test_budget_curves_come_first_and_hold_everything_else_fixed() -> None:
    runs = [
        run(label, 0.1 * amount * epochs, amount=amount, finetune={"epochs": epochs})
        for label in ("random", "a")
        for amount in (1, 2)
        for epochs in (1, 3)
    ]
    part = curves_part(runs)
    assert part is not None
    assert [picture.name for picture in part.pictures] == ["budget-curves", "ablation-curves"]
    panels = {panel.key: panel for family in families(runs) for panel in panels_of(family)}
    names = ["a (epochs=1)", "a (epochs=3)", "random (epochs=1)", "random (epochs=3)"]
    assert sorted(curve.name for curve in panels["budget.amount"].curves) == names
    curves = {curve.name: curve for curve in panels["finetune.epochs"].curves}
    assert curves.keys() == {"a (amount=1)", "a (amount=2)", "random (amount=1)", "random (amount=2)"}
    means = [statistic.mean for statistic in curves["random (amount=2)"].points.values()]
    assert means == pytest.approx([0.2, 0.6])


def test_settings_that_vary_together_make_no_curve() -> None:
    runs = [run("a", 0.1, selection={"k": 1, "m": 1}), run("a", 0.2, selection={"k": 2, "m": 2})]
    assert curves_part(runs) is None
    assert curves_part([run("a", 0.1), run("random", 0.2)]) is None


def test_settings_that_are_no_numbers_make_no_curve() -> None:
    runs = [run("a", 0.1 * n, selection={"mode": mode}) for n, mode in enumerate((True, False, "x", None))]
    assert curves_part(runs) is None


def test_the_papers_curve_stands_on_its_own_scale() -> None:
    paper = Paper(
        citation="Somebody 2024", table="x", columns={"Avg": "headline"}, grids=({"a": "b"},),
        axes={"k": Axis(key="selection.num_clusters", values={"64": 64, "128": 128})},
    )  # fmt: skip
    printed = tuple(
        PrintedRow(names={"k": str(k)}, key=(("k", k),), values={"Avg": value})
        for k, value in ((128, 44.0), (64, 43.0))
    )
    comparison = PaperComparison(paper=paper, miniature=True, rows=(), agreements=(), not_run=(), printed_rows=printed)
    runs = [kmq(8, 0.3), kmq(64, 0.4)]
    (panel,) = panels_of(families(runs)[0])
    assert printed_curves(panel, comparison) == {"paper": [(64.0, 0.43), (128.0, 0.44)]}
    assert printed_curves(panel, None) == {}
    part = curves_part(runs, comparison)
    assert part is not None
    (picture,) = part.pictures
    ours, theirs = picture.figure.axes
    assert list(theirs.lines[0].get_ydata()) == [0.43, 0.44]
    assert ours.get_xlim() == theirs.get_xlim()
    assert "on its own scale" in picture.caption
