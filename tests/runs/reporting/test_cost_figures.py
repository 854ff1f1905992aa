"""Score against cost: the front by hand, what is read of records, names that do not overlap."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from siftune.runs.reporting.cost_figures import cost_part, pareto_front
from siftune.runs.reporting.families import families
from siftune.runs.reporting.labels import Named, freeze, name_points
from siftune.runs.reporting.records import RunRecord, Score


def run(label: str, seed: int, score: float, cost: tuple[float | None, float] | None, amount: int = 8) -> RunRecord:
    """cost: FLOPs and seconds of the training; the selection takes 1 and 2 of them."""
    spent = {}
    if cost is not None:
        flops, seconds = cost
        spent = {
            "selection": {"flops": 1.0, "seconds": 2.0},
            "training": {"flops": flops, "seconds": seconds},
            "evaluation": {"flops": 1e6, "seconds": 1e6},
        }
    trained = label != "base"
    fields: dict[str, Any] = {
        "folder": Path("none"), "fingerprint": f"{label}{seed}{amount}", "created": "2026", "seconds": 1.0,
        "commit": None, "label": label, "group": None, "seed": seed, "model": "tiny", "pool": "skills",
        "pool_fingerprint": "aaaa", "targets": (), "budget": f"{amount} examples", "suite": "s",
        "scores": {"em": Score(metric="acc", value=score, stderr=0.01, higher_is_better=True, samples=9)},
        "headline": None, "headline_tasks": (), "selection": {"rows": amount} if trained else None,
        "training": {} if trained else None, "config": {"budget": {"amount": amount, "unit": "examples"}},
        "cost": spent,
    }  # fmt: skip
    return RunRecord(**fields)


def test_front_of_five_points() -> None:
    #         cheap, low; beaten by 0 (dearer, lower); better; same score, dearer; best
    points = [(1.0, 0.2), (2.0, 0.1), (3.0, 0.5), (4.0, 0.5), (5.0, 0.9)]
    assert pareto_front(points, higher_is_better=True) == [0, 2, 4]
    assert pareto_front(points, higher_is_better=False) == [0, 1]


def test_equal_points_are_both_on_the_front() -> None:
    assert pareto_front([(1.0, 0.5), (1.0, 0.5), (1.0, 0.4)], higher_is_better=True) == [0, 1]


def test_costs_are_of_selection_and_training_over_seeds() -> None:
    runs = [run("random", 0, 0.2, (9.0, 10.0)), run("random", 1, 0.2, (19.0, 20.0)), run("a", 0, 0.5, (None, 7.0))]
    part = cost_part(runs)
    assert part is not None
    (table,) = part.tables
    headers = [(column.header, column.detail) for column in table.columns]
    values = {row[0].text: dict(zip(headers, (cell.value for cell in row), strict=True)) for row in table.rows}
    assert values["random"]["time", "training"] == 15.0
    assert values["random"]["FLOPs", "training"] == 14.0
    assert values["a"]["FLOPs", "training"] is None
    (picture,) = part.pictures
    assert "FLOPs are not known of a." in picture.caption
    by_flops, by_seconds = picture.figure.axes
    assert _places(by_flops) == {(15.0, 0.2)}
    assert _places(by_seconds) == {(17.0, 0.2), (9.0, 0.5)}


def test_records_without_costs_have_the_seconds_of_their_stages(tmp_path: Path) -> None:
    stages = [("pool", 1.0), ("model", 100.0), ("subset", 2.0), ("checkpoint", 4.0), ("evaluation", 50.0)]
    text = ", ".join(f'{{"kind": "{kind}", "seconds": {seconds}}}' for kind, seconds in stages)
    (tmp_path / "record.json").write_text(f'{{"summary": {{"stages": [{text}]}}}}')
    one = RunRecord(**{**vars(run("random", 0, 0.2, None)), "folder": tmp_path})
    part = cost_part([one])
    assert part is not None
    (picture,) = part.pictures
    (axis,) = picture.figure.axes
    assert _places(axis) == {(7.0, 0.2)}
    assert "FLOPs are not known of these runs." in picture.caption


def test_budgets_are_one_family_and_joined_by_a_line() -> None:
    runs = [run("base", 0, 0.1, None)]
    runs += [run(label, 0, 0.2 + n / 10, (n * 1e12, n * 10.0), n) for n in (1, 2, 4) for label in ("random", "a")]
    (family,) = families(runs)
    assert (family.title, family.budgets) == (
        "tiny · pool skills · suite s",
        ("1 examples", "2 examples", "4 examples"),
    )
    assert family.base is not None
    assert family.base.mean == 0.1
    part = cost_part(runs)
    assert part is not None
    axis = part.pictures[0].figure.axes[0]
    assert sum(len(line.get_xdata()) == 3 for line in axis.lines) >= 2
    assert [text.get_text() for text in axis.texts] == ["base", "random", "a"]


@pytest.mark.parametrize("seed", [0, 1])
def test_names_do_not_overlap(seed: int) -> None:
    import numpy as np

    rng = np.random.default_rng(seed)
    figure = Figure(figsize=(7, 5), layout="constrained")
    axis = figure.subplots()
    named = [Named(x, y, f"method_{number}", "black") for number, (x, y) in enumerate(rng.random((15, 2)))]
    axis.scatter([item.x for item in named], [item.y for item in named])
    axis.set(xlim=(-0.2, 1.2), ylim=(-0.2, 1.2))
    freeze(figure)
    name_points(axis, named)
    figure.draw_without_rendering()
    extents = [Text.get_window_extent(text) for text in axis.texts]
    assert not any(one.overlaps(other) for one, other in combinations(extents, 2))
    frame = axis.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 <= frame.y1 for box in extents)
    assert all(isinstance(text, Annotation) for text in axis.texts)


def _places(axis: Any) -> set[tuple[float, float]]:
    from matplotlib.collections import PathCollection

    found = [collection for collection in axis.collections if isinstance(collection, PathCollection)]
    return {tuple(map(float, place)) for collection in found for place in collection.get_offsets()}
