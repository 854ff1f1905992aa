"""The pictures of a refinement: what they show, and that nothing is cut off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from siftune.runs.rounds.kinds import draw_shares, kinds_figure, weight_shares
from siftune.runs.rounds.plots import weights_figure
from siftune.runs.rounds.pool_map import COLOURS, MAP_ROWS, clusters_figure, layout, mapped_rows, moved_most
from siftune.runs.rounds.report import RefinementReport, RoundReport

NAN = float("nan")


def refined(
    clusters: int, rounds: int = 3, rows: int = 240, seed: int = 0, scored_last: bool = True
) -> RefinementReport:
    """Clusters 0, 1 ... of equal size, whose S rises with their number."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % clusters
    weights, entries = np.full(clusters, 1 / clusters), []
    for number in range(1, rounds + 1):
        drawn = rng.choice(rows, 20, replace=False)
        values = labels[drawn] / clusters + rng.normal(0, 0.01, 20)
        values[0] = NAN
        means = np.full(clusters, NAN)
        for cluster in np.unique(labels[drawn[1:]]):
            means[cluster] = values[1:][labels[drawn[1:]] == cluster].mean()
        known = np.isfinite(means)
        is_scored = scored_last or number < rounds
        entries.append(
            RoundReport(
                number=number, rows=drawn, weights=weights, means=means if is_scored else None,
                values=values if is_scored else None,
            )
        )  # fmt: skip
        if is_scored:
            weights = weights.copy()
            share = weights[known] * np.exp(3 * means[known])
            weights[known] = share / share.sum() * weights[known].sum()
    return RefinementReport(
        rounds=tuple(entries), size=rows, labels=labels, names=tuple(f"name {n}" for n in range(clusters)),
        weights=weights, score="perplexity", compare="log_ratio", weighting="softmax_product",
    )  # fmt: skip


def drawn(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def cut_off(figure: Figure) -> list[str]:
    """What is written beyond the edge."""
    width, height = figure.bbox.size
    texts = [*figure.texts, *(text for axis in figure.axes for text in (axis.title, *axis.texts))]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    return [name for name, box in boxes if box.x0 < -1 or box.x1 > width + 1 or box.y0 < -1 or box.y1 > height + 1]


@pytest.mark.parametrize("scored_last", [True, False])
@pytest.mark.parametrize(("clusters", "rounds"), [(2, 1), (7, 3), (8, 3), (120, 10)])
def test_pictures_of_any_number_of_clusters(clusters: int, rounds: int, scored_last: bool) -> None:
    report = refined(clusters, rounds, rows=48, scored_last=scored_last)
    figure = weights_figure(report)
    assert figure is not None
    assert cut_off(drawn(figure)) == []
    map_ = drawn(clusters_figure(report, np.random.default_rng(0).normal(size=(report.size, 8))[:, :2]))
    assert len(map_.axes) == min(4, len(report.history()[1])) + (clusters <= 7) + 1  # the last: the colours' bar
    assert cut_off(map_) == []


def test_few_clusters_have_a_line_each() -> None:
    report = refined(4)
    figure = weights_figure(report)
    assert figure is not None
    left, middle, _ = figure.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in left.lines}
    assert lines["name 3"] == pytest.approx(report.history()[0][:, 3].tolist())
    assert left.get_legend() is not None
    heights = [patch.get_height() for patch in middle.patches]
    assert sum(heights) == 60  # three rounds of 20 rows
    assert heights[:3] == [report.drawn(entry)[0] for entry in report.rounds]


def test_of_many_clusters_those_that_moved_most_are_named() -> None:
    report = refined(64)
    order = np.argsort(report.weights, kind="stable").tolist()  # type: ignore[arg-type]
    assert moved_most(report).tolist() == [*order[:4], *order[-4:]]
    figure = weights_figure(report)
    assert figure is not None
    texts = drawn(figure).axes[0].texts
    assert {text.get_text() for text in texts} == {f"name {n}" for n in [*order[:4], *order[-4:]]}
    boxes = [text.get_window_extent().padded(-1) for text in texts]
    assert not any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[n + 1 :])


def test_unscored_round_says_so() -> None:
    for clusters in (4, 64):
        figure = weights_figure(refined(clusters, scored_last=False))
        assert figure is not None
        assert [text.get_text() for text in figure.axes[2].texts] == ["not scored"]


def test_map_colours_rows_by_weight() -> None:
    labels = np.arange(40) % 2
    entry = RoundReport(
        number=1, rows=np.array([0, 1]), weights=np.array([0.5, 0.5]), means=np.array([3.0, -3.0]),
        values=np.array([3.0, -3.0]),
    )  # fmt: skip
    report = RefinementReport(
        rounds=(entry,), size=40, labels=labels, names=("a", "b"), weights=np.array([0.99999, 0.00001]),
        score="rating", compare="difference",
    )  # fmt: skip
    figure = clusters_figure(report, np.random.default_rng(0).normal(size=(40, 5)))
    _, before, after, _ = drawn(figure).axes
    assert {to_hex(colour) for colour in before.collections[0].get_facecolor()} == {COLOURS[3].lower()}
    blue, red = (to_hex(colour) for colour in after.collections[0].get_facecolor()[:2])
    assert red == COLOURS[0].lower()
    assert int(blue[5:], 16) > int(blue[1:3], 16)
    assert len(before.collections[1].get_offsets()) == 2  # the rows drawn
    assert len(after.collections[1].get_offsets()) == 0


def test_map_without_clusters_shows_picks_by_round() -> None:
    entries = (
        RoundReport(number=1, rows=np.arange(5), gains=np.full(5, NAN)),
        RoundReport(number=2, rows=np.arange(5, 12), gains=np.linspace(0.9, 0.3, 7)),
    )
    report = RefinementReport(rounds=entries, size=30)
    assert weights_figure(report) is None
    figure = clusters_figure(report, np.random.default_rng(0).normal(size=(30, 5)))
    places, distances = figure.axes
    assert [len(dots.get_offsets()) for dots in places.collections] == [30, 5, 7]
    assert [line.get_xdata().tolist() for line in distances.lines] == [list(range(1, 6)), list(range(6, 13))]
    assert len(clusters_figure(RefinementReport(rounds=entries[:1], size=30), np.eye(30)).axes) == 1


def test_map_of_a_large_pool_has_a_sample_with_the_picks() -> None:
    entry = RoundReport(number=1, rows=np.arange(0, 9000, 100), gains=None)
    report = RefinementReport(rounds=(entry,), size=9000)
    rows = mapped_rows(report)
    assert len(rows) == MAP_ROWS
    assert np.isin(entry.rows, rows).all()
    assert len(np.unique(rows)) == MAP_ROWS
    assert mapped_rows(report).tolist() == rows.tolist()
    many = RefinementReport(rounds=(RoundReport(number=1, rows=np.arange(8000)),), size=9000)
    assert np.count_nonzero(mapped_rows(many) < 8000) == MAP_ROWS // 2


@pytest.mark.parametrize("rows", [1, 3, 50, 200])
def test_layout_is_the_same_each_time(rows: int) -> None:
    embeddings = np.random.default_rng(0).normal(size=(rows, 6)).astype(np.float32)
    places = layout(embeddings)
    assert places.shape == (rows, 2)
    assert np.isfinite(places).all()
    assert np.array_equal(places, layout(embeddings))


def test_layout_keeps_groups_apart() -> None:
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(3, 10) * 5, 40, axis=0)
    places = layout((centres + rng.normal(0, 0.1, centres.shape)).astype(np.float32))
    middles = places.reshape(3, 40, 2).mean(axis=1)
    inside = np.linalg.norm(places.reshape(3, 40, 2) - middles[:, None], axis=2).max()
    assert min(np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2))) > inside


def shares_report(weights: Any, rows: Any) -> RefinementReport:
    entry = RoundReport(number=1, rows=np.array(rows), weights=np.array(weights))
    return RefinementReport(
        rounds=(entry,), size=6, labels=np.array([0, 0, 1, 1, 1, 1]), names=("0", "1"), weights=np.array(weights),
        score="rating", compare="difference",
    )  # fmt: skip


KINDS = np.array(["bad", "good", "bad", "good", "good", "good"], dtype=object)


def test_shares_of_kinds() -> None:
    report = shares_report([0.4, 0.6], [0, 1, 3, 4])
    # bad: half of cluster 0, a quarter of cluster 1
    assert weight_shares(report, KINDS).tolist() == [pytest.approx([0.35, 0.65])]
    assert draw_shares(report, KINDS).tolist() == [[0.25, 0.75]]


def test_kinds_are_averaged_over_runs() -> None:
    reports = [shares_report([0.4, 0.6], [0, 1, 3, 4]), shares_report([0.8, 0.2], [1, 3, 4, 5])]
    figure = drawn(kinds_figure(reports, KINDS))
    left, right = figure.axes
    means = {line.get_label(): list(line.get_ydata()) for line in left.lines if not line.get_label().startswith("_")}
    assert means == {"bad": [pytest.approx(40.0)], "good": [pytest.approx(60.0)]}
    assert [list(line.get_ydata()) for line in right.lines if line.get_label() == "bad"] == [[pytest.approx(12.5)]]
    assert cut_off(figure) == []


def test_picks_are_compared_with_those_of_other_methods() -> None:
    reports = [shares_report([0.4, 0.6], [0, 1, 3, 4])]
    others = {"random": [np.array([0, 2]), np.array([0, 1])], "kmq": [np.array([3])]}
    figure = drawn(kinds_figure(reports, KINDS, others, name="diversify"))
    axis = figure.axes[2]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["diversify", "random", "kmq"]
    bars = [container.lines[0].get_ydata()[0] for container in axis.containers]
    assert bars == pytest.approx([25, 75, 75, 25, 0, 100])
    spans = [container.lines[2][0].get_segments()[0][:, 1].tolist() for container in axis.containers]
    assert spans[2:4] == [pytest.approx([50.0, 100.0]), pytest.approx([0.0, 50.0])]
    assert cut_off(figure) == []
