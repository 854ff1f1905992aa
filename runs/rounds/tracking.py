"""A refinement loop as Weights & Biases shows it: lines over rounds, tables, pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siftune.runs.rounds.files import MAP_PICTURE, WEIGHTS_PICTURE, read_dropped
from siftune.runs.rounds.report import RefinementReport
from siftune.runs.rounds.tables import spread

if TYPE_CHECKING:
    import wandb

LINES = 64
"""Up to so many clusters have a line each; of more, the table and the picture tell."""
QUANTILES = (5, 25, 50, 75, 95)
CLUSTER_COLUMNS = ["round", "cluster", "rows", "weight", "drawn", "scored", "mean_S"]
DROPPED_COLUMNS = [
    "cluster", "rows", "dropped", "first_weight", "last_weight", "why", "row", "prompt", "gold", "reply", "S",
]  # fmt: skip
UNSCORED_COLUMNS = ["row", "round", "why"]

Tables = dict[str, tuple[list[str], list[list[Any]]]]


def series(report: RefinementReport) -> Iterator[dict[str, Any]]:
    """What to log a round, the last of them the weights after the last round where that was scored."""
    for number, entry in enumerate(report.rounds, start=1):
        step: dict[str, Any] = {"round": number, "rows": len(entry.rows)}
        if entry.values is not None and np.isfinite(entry.values).any():
            step |= {"mean_S": float(np.nanmean(entry.values)), "unscored": len(entry.unscored)}
        if entry.gains is not None and np.isfinite(entry.gains).any():
            step["distance"] = float(entry.gains[np.isfinite(entry.gains)][-1])
        if entry.weights is not None:
            step["clusters_drawn_from"] = int(np.count_nonzero(report.drawn(entry)))
            step |= _weights(report, entry.weights)
        yield step
    if report.weights is not None and report.rounds[-1].means is not None:
        yield {"round": len(report.rounds) + 1, **_weights(report, report.weights)}


def tables(report: RefinementReport, folder: Path) -> Tables:
    """clusters (a row a round and cluster), dropped, unscored: columns and rows; none of a loop without clusters."""
    if report.names is None:
        return {}
    lines = read_dropped(folder)
    clusters = [line for line in lines if line["kind"] == "cluster"]
    rows = [[line[column] for column in UNSCORED_COLUMNS] for line in lines if line["kind"] == "row"]
    return {
        "clusters": (CLUSTER_COLUMNS, list(_cluster_rows(report))),
        "dropped": (DROPPED_COLUMNS, [_dropped_row(line) for line in clusters]),
        **({"unscored": (UNSCORED_COLUMNS, rows)} if rows else {}),
    }


def pictures(folder: Path) -> dict[str, wandb.Image]:
    """Those that were drawn."""
    import wandb

    found = {name: folder / name for name in (WEIGHTS_PICTURE, MAP_PICTURE)}
    return {f"{path.stem}_picture": wandb.Image(str(path)) for path in found.values() if path.exists()}


def _weights(report: RefinementReport, weights: np.ndarray) -> dict[str, float]:
    assert report.names is not None
    values = {"clusters_as_even_as": spread(weights)}
    if report.clusters <= LINES:
        return values | {f"weight/{name}": float(weight) for name, weight in zip(report.names, weights, strict=True)}
    return values | {f"weight_quantile/{q:02}": float(np.percentile(weights, q)) for q in QUANTILES}


def _cluster_rows(report: RefinementReport) -> Iterator[list[Any]]:
    """A row a round and cluster; after a last round that was scored, the weights that no round drew by."""
    assert report.names is not None
    weights, _ = report.history()
    sizes = report.sizes.tolist()
    for position, drew_by in enumerate(weights.tolist()):
        entry = report.rounds[position] if position < len(report.rounds) else None
        counts: list[Any] = [None] * report.clusters
        drawn, scored, means = counts, counts, counts
        if entry is not None:
            drawn, scored = report.drawn(entry).tolist(), report.scored(entry).tolist()
            known = np.full(report.clusters, np.nan) if entry.means is None else entry.means
            means = [None if np.isnan(mean) else float(mean) for mean in known]
        for row in zip(report.names, sizes, drew_by, drawn, scored, means, strict=True):
            yield [position + 1, *row]


def _dropped_row(line: dict[str, Any]) -> list[Any]:
    example = line["example"] or dict.fromkeys(("id", "prompt", "gold", "reply", "value"))
    told = [line["name"], line["size"], line["dropped"], line["weights"][0], line["weights"][-1], line["why"]]
    return [*told, *(example[key] for key in ("id", "prompt", "gold", "reply", "value"))]
