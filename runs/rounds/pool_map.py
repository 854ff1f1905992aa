"""The pool of a refinement loop on a map: which clusters weigh how much, and where each round drew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from siftune.runs.reporting.plots import DPI, LINES, REST
from siftune.runs.rounds.changes import cut
from siftune.runs.rounds.report import RefinementReport, RoundReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAP_ROWS = 2000
"""Rows on the map: t-SNE of as many takes some seconds."""
PICKS_SHARE = 0.5
"""At most so much of them are picks; the others stand for the pool."""
PCA_DIMENSIONS = 50
FACTOR = 8.0
"""Where the colours end: a weight of so many times 1/K, and its inverse."""
TOO_FEW = 50
"""Rows for t-SNE."""
PANELS = 4
NAMED = 8
"""Of many clusters so many are named, those that moved most."""
ALL_NAMED = 16
COLOURS = ("#8E1B2C", "#D6604D", "#F4A582", "#DADADA", "#92C5DE", "#4393C3", "#1B4F8F")
"""From less than 1/K over as much to more; the middle is grey, so that it is seen on white."""
OFFSETS = np.array(
    [(0.05, 0.06), (-0.05, 0.06), (0.05, -0.06), (-0.05, -0.06), (0.1, 0.0), (-0.1, 0.0), (0, 0.12), (0, -0.12)]
)
"""Where a name may stand, from its place, in widths and heights of the map."""
GAP = np.array([0.1, 0.045])


def clusters_figure(report: RefinementReport, embeddings: np.ndarray) -> Figure:
    """The map before, during and after: a row is coloured by its cluster's weight against 1/K, black where drawn.

    Without clusters (DiverseEvol), one map on which the picks are coloured by round."""
    rows = mapped_rows(report)
    places = layout(embeddings[rows])
    return _picks_figure(report, rows, places) if report.names is None else _weights_figure(report, rows, places)


def mapped_rows(report: RefinementReport) -> np.ndarray:
    """(m,) int64 rows of the pool to be shown, in order: all, or picks and others drawn at random (always the same)."""
    if report.size <= MAP_ROWS:
        return np.arange(report.size)
    rng = np.random.default_rng(0)
    picks = report.picks
    others = np.setdiff1d(np.arange(report.size), picks)
    some = min(len(picks), int(MAP_ROWS * PICKS_SHARE))
    chosen = [rng.choice(picks, some, replace=False), rng.choice(others, min(len(others), MAP_ROWS - some), False)]
    return np.sort(np.concatenate(chosen))


def layout(embeddings: np.ndarray) -> np.ndarray:
    """(m, 2) places of rows: t-SNE of their directions, or where there are too few for it their principal axes.

    The same on every call: threads would add in another order each time."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(embeddings) < 2:
        return np.zeros((len(embeddings), 2))
    vectors = np.asarray(embeddings, dtype=np.float32)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    dimensions = min(PCA_DIMENSIONS, *vectors.shape)
    with threadpool_limits(1):
        reduced = PCA(dimensions, svd_solver="full" if len(vectors) <= TOO_FEW else "covariance_eigh").fit_transform(
            vectors
        )
        if len(vectors) <= TOO_FEW:
            return np.pad(reduced, ((0, 0), (0, 2)))[:, :2]
        perplexity = min(30.0, (len(vectors) - 1) / 3)
        found: np.ndarray = TSNE(perplexity=perplexity, init="pca", max_iter=500, random_state=0).fit_transform(reduced)
    return found


def _weights_figure(report: RefinementReport, rows: np.ndarray, places: np.ndarray) -> Figure:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.figure import Figure

    _, names = report.history()
    relative = np.hstack([report.relative(), np.full((len(names), 1), np.nan)])
    shown = np.unique(np.linspace(0, len(names) - 1, min(PANELS, len(names))).round().astype(int))
    few = report.clusters <= len(LINES)
    figure = Figure(figsize=(4.3 * (len(shown) + few) + 0.9, 4.9), layout="constrained", dpi=DPI)
    axes = list(figure.subplots(1, len(shown) + few, squeeze=False)[0])
    if few:
        _which_cluster(axes[0], report, rows, places)
    norm, colours = LogNorm(1 / FACTOR, FACTOR), LinearSegmentedColormap.from_list("weights", COLOURS, N=257)
    for axis, point in zip(axes[few:], shown, strict=True):
        assert report.labels is not None
        entry = report.rounds[point] if point < len(report.rounds) else None
        seen = np.clip(relative[point, report.labels[rows]], 1 / FACTOR, FACTOR)
        axis.scatter(places[:, 0], places[:, 1], c=seen, cmap=colours, norm=norm, s=9, linewidth=0.0)
        drawn = np.isin(rows, entry.rows) if entry is not None else np.zeros(len(rows), dtype=bool)
        size, edge = (13, 0.5) if np.count_nonzero(drawn) <= 150 else (4, 0.0)
        axis.scatter(places[drawn, 0], places[drawn, 1], s=size, color="black", linewidth=edge, edgecolor="white")
        _blank(axis, names[point] if entry is None else f"{names[point]}: {len(entry.rows):,} rows drawn (black)")
    if not few:
        _name_clusters(axes[-1], report, rows, places)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, shrink=0.8, aspect=28, pad=0.01)
    bar.set_ticks([1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], labels=["≤ ⅛", "¼", "½", "1", "2", "4", "≥ 8"])
    bar.minorticks_off()
    bar.set_label("weight of the cluster against its first", fontsize=9)
    return _titled(figure, f"{report.clusters:,} clusters and the rows drawn from them", report, rows)


def _which_cluster(axis: Axes, report: RefinementReport, rows: np.ndarray, places: np.ndarray) -> None:
    """The map in the colours that the clusters have in the picture of their weights."""
    assert report.names is not None
    assert report.labels is not None
    for cluster, (name, colour) in enumerate(zip(report.names, LINES, strict=False)):
        own = report.labels[rows] == cluster
        axis.scatter(places[own, 0], places[own, 1], s=6, color=colour, linewidth=0, label=cut(name, 24))
    _blank(axis, "clusters")
    axis.legend(fontsize=8, markerscale=2.5, handletextpad=0.2, framealpha=0.7)


def _picks_figure(report: RefinementReport, rows: np.ndarray, places: np.ndarray) -> Figure:
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    gains = [entry.gains for entry in report.rounds if entry.gains is not None]
    far = bool(gains) and np.isfinite(np.concatenate(gains)).any()
    figure = Figure(figsize=(11.4 if far else 7.6, 6.0), layout="constrained", dpi=DPI)
    axis, *beside = figure.subplots(1, 1 + far, squeeze=False, width_ratios=(1.5, 1)[: 1 + far])[0]
    axis.scatter(places[:, 0], places[:, 1], s=7, color=REST, linewidth=0, label="not picked")
    colours = colormaps["viridis_r"](np.linspace(0.08, 1.0, len(report.rounds)))
    for entry, colour in zip(report.rounds, colours, strict=True):
        picked = np.isin(rows, entry.rows)
        label = f"round {entry.number}: {len(entry.rows):,} rows"
        axis.scatter(
            places[picked, 0], places[picked, 1], s=20, color=colour, linewidth=0.3, edgecolor="black", label=label
        )
        if far:
            _distances(beside[0], report, entry, colour)
    _blank(axis, "rows of the pool, as the last model embeds them" if far else "")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8.5)
    return _titled(figure, "Picks by round", report, rows)


def _distances(axis: Axes, report: RefinementReport, entry: RoundReport, colour: np.ndarray) -> None:
    """How far each pick was from those before it: where the curve is flat, little is left to be found."""
    from matplotlib.ticker import MaxNLocator

    assert entry.gains is not None
    start = sum(len(other.rows) for other in report.rounds if other.number < entry.number)
    axis.plot(start + 1 + np.arange(len(entry.gains)), entry.gains, color=colour, linewidth=2)
    axis.set_title("distance of each pick to the nearest before it", fontsize=9.5)
    axis.set_xlabel("picks", fontsize=9)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def _name_clusters(axis: Axes, report: RefinementReport, rows: np.ndarray, places: np.ndarray) -> None:
    """The names of clusters beside the rows that lie in their middle, none on another."""
    import matplotlib.patheffects as effects

    assert report.names is not None
    assert report.labels is not None
    taken: list[np.ndarray] = []
    extent = np.ptp(places, axis=0)
    for cluster in np.arange(report.clusters) if report.clusters <= ALL_NAMED else moved_most(report):
        own = places[report.labels[rows] == cluster]
        if len(own):
            middle = own[np.argmin(((own - np.median(own, axis=0)) ** 2).sum(axis=1))]
            spots = [middle + step * extent for step in OFFSETS]
            free = [spot for spot in spots if all((abs(spot - other) > GAP * extent).any() for other in taken)]
            taken.append(free[0] if free else spots[0])
            text = axis.annotate(
                cut(report.names[cluster], 14), tuple(middle), tuple(taken[-1]), ha="center", va="center", fontsize=8,
                arrowprops={"arrowstyle": "-", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip
            text.set_path_effects([effects.withStroke(linewidth=2.4, foreground="white")])


def moved_most(report: RefinementReport) -> np.ndarray:
    """The clusters whose weights moved most, down and up."""
    order = np.argsort(report.relative()[-1], kind="stable")
    half = min(NAMED, report.clusters) // 2
    return np.concatenate([order[:half], order[len(order) - half :]])


def _blank(axis: Axes, title: str) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_color("#BBBBBB")
    axis.set_title(title, fontsize=9.5)


def _titled(figure: Figure, title: str, report: RefinementReport, rows: np.ndarray) -> Figure:
    figure.suptitle(title, fontsize=11, fontweight="bold")
    picked = np.count_nonzero(np.isin(rows, report.picks))
    picks = f"all {picked:,}" if picked == len(report.picks) else f"{picked:,} of the {len(report.picks):,}"
    shown = "all" if len(rows) == report.size else f"{len(rows):,} of the"
    how = "t-SNE" if len(rows) > TOO_FEW else "principal axes"
    text = f"{how} of the embeddings: {shown} {report.size:,} rows, {picks} picks among them"
    figure.supxlabel(text, fontsize=8, color="#444444")
    return figure
