"""The pictures of a report: what they show, and that nothing in them overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from siftune.runs.reporting.plots import AREAS, LOWER, OTHER, scores_figure, sources_figure, training_figure
from siftune.runs.reporting.records import RunRecord, Score
from siftune.runs.reporting.rows import Section, sections

TASKS = {"a_em": True, "b_em": True, "c_em": True, "d_em": True, "e_loss": False, "f_loss": False}


def run(label: str, seed: int, values: dict[str, float], **changes: Any) -> RunRecord:
    scores = {
        name: Score(metric="metric", value=value, stderr=0.02, higher_is_better=TASKS[name], samples=64)
        for name, value in values.items()
    }
    fields: dict[str, Any] = {
        "folder": Path(label), "fingerprint": f"{label}{seed}", "created": "2026", "seconds": 1.0, "commit": None,
        "label": label, "group": None, "seed": seed, "model": "tiny", "pool": "skills", "pool_fingerprint": "aaaa",
        "targets": (), "budget": "96 examples", "suite": "skills", "scores": scores, "headline": None,
        "headline_tasks": (), "config": {},
        "selection": {"sources_pool": {"x": 75, "y": 25}, "sources_subset": {"x": 2 + 2 * seed, "y": 2 - 2 * seed}},
        "training": {"log": [{"step": 1, "loss": 3.0 + seed}, {"step": 2, "loss": 1.0 + seed}, {"runtime": 1.0}]},
    }  # fmt: skip
    return RunRecord(**(fields | changes))


def base(values: dict[str, float]) -> RunRecord:
    return run("base", 0, values, selection=None, training=None)


def section_of(runs: Sequence[RunRecord]) -> Section:
    (section,) = sections(runs)
    return section


def many(methods: int) -> Section:
    long = [f"method_{n}(aggregation=normalized_mean, score=quality_{n})" for n in range(methods - 2)]
    values = [dict.fromkeys(TASKS, 0.3 + 0.01 * n + 0.002 * seed) for n in range(methods) for seed in range(3)]
    labels = [label for label in ("random", *long) for _ in range(3)]
    runs = [run(label, n % 3, values[n]) for n, label in enumerate(labels)]
    return section_of([base(values[-1]), *runs])


def texts(figure: Figure) -> list[Any]:
    """What is written in the picture: no empty text, no hidden panel, no tick beyond its axis."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    shown = {id(text): text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()}
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            beyond = [tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
            for text in [*beyond, *([] if axes.get_visible() else axes.findobj(Text))]:
                shown.pop(id(text), None)
    return list(shown.values())


@pytest.mark.parametrize("methods", [2, 5, 12])
@pytest.mark.parametrize("draw", [scores_figure, sources_figure, training_figure])
def test_no_text_overlaps_another_or_leaves_the_picture(methods: int, draw: Any) -> None:
    figure = draw(many(methods))
    boxes = [(text.get_text(), text.get_window_extent().padded(-1)) for text in texts(figure)]
    assert len(boxes) > methods
    width, height = figure.bbox.size
    for position, (name, box) in enumerate(boxes):
        assert -1 <= box.x0 <= box.x1 <= width + 1, name
        assert -1 <= box.y0 <= box.y1 <= height + 1, name
        for other, second in boxes[position + 1 :]:
            assert not box.overlaps(second), (name, other)


def test_scores_of_one_panel() -> None:
    seeds = [run("random", seed, {"e_loss": value}) for seed, value in enumerate((1.0, 2.0, 3.0))]
    section = section_of([base({"e_loss": 4.0}), *seeds, run("rds_plus", 0, {"e_loss": 1.5})])
    figure = scores_figure(section)
    assert figure is not None
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["base", "random", "rds_plus"]
    assert axis.get_title() == "metric\n← LOWER is better"
    assert to_hex(axis.get_facecolor()) == LOWER.lower()
    # base: +- its standard error; random: +- the deviation over seeds (1.0); rds_plus: +- its standard error
    spans = [container.lines[2][0].get_segments()[0][:, 0] for container in axis.containers]
    assert [span.tolist() for span in spans] == [pytest.approx(s) for s in ([3.98, 4.02], [1.0, 3.0], [1.48, 1.52])]
    points = [[round(x, 6) for x, _ in collection.get_offsets()] for collection in axis.collections]
    assert [1.0, 2.0, 3.0] in points
    means = {text.get_text(): text.get_fontweight() for text in axis.texts}
    assert means == {"e_loss": "bold", "4.000": "normal", "2.000": "normal", "1.500": "bold"}


def test_equal_scores_have_an_axis_that_can_be_read() -> None:
    runs = [run(label, seed, {"a_em": 0.0}) for label in ("random", "rds_plus") for seed in (0, 1)]
    figure = scores_figure(section_of(runs))
    assert figure is not None
    (axis,) = figure.axes
    low, high = axis.get_xlim()
    assert low < -0.01
    assert high > 0.01


def test_sources_are_shares_averaged_over_seeds() -> None:
    figure = sources_figure(section_of([base({"a_em": 0.1}), *(run("random", seed, {"a_em": 0.1}) for seed in (0, 1))]))
    assert figure is not None
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["pool", "random"]
    # random: 2 of 4 rows from x with seed 0, 4 of 4 with seed 1
    assert [patch.get_width() for patch in axis.patches] == pytest.approx([75.0, 25.0, 75.0, 25.0])


def test_small_sources_are_summed_up() -> None:
    pool = {f"s{n:02}": 100 - n for n in range(len(AREAS) + 4)}
    selection = {"sources_pool": pool, "sources_subset": {"s12": 5}}
    figure = sources_figure(section_of([run("random", 0, {"a_em": 0.1}, selection=selection)]))
    assert figure is not None
    legend = figure.axes[0].get_legend()
    assert legend is not None
    names = [text.get_text() for text in legend.get_texts()]
    assert len(names) == len(AREAS) + 1
    assert names[-1] == OTHER
    assert "s12" in names  # small in the pool, and all of a subset
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    assert sum(widths[: len(names)]) == pytest.approx(100)


def test_training_is_the_mean_of_the_seeds() -> None:
    figure = training_figure(
        section_of([base({"a_em": 0.1}), *(run("random", seed, {"a_em": 0.1}) for seed in (0, 1))])
    )
    assert figure is not None
    first, second, mean = ([float(y) for y in line.get_ydata()] for line in figure.axes[0].lines)
    assert (first, second, mean) == ([3.0, 1.0], [4.0, 2.0], [3.5, 1.5])


def test_nothing_to_draw() -> None:
    alone = section_of([base({"a_em": 0.1})])
    assert (sources_figure(alone), training_figure(alone)) == (None, None)
    assert scores_figure(section_of([run("random", 0, {})])) is None
