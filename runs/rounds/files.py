"""The files that a refinement loop leaves for a person: its report as JSON and Markdown, what it dropped, pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from siftune.runs.rounds.changes import Change, changes, fallen
from siftune.runs.rounds.report import RefinementReport, RoundReplies
from siftune.runs.rounds.tables import markdown, spread
from siftune.selection.files import write_whole
from siftune.selection.pool.store import Pool

REPORT_FILE = "report.json"
DROPPED_FILE = "dropped.jsonl"
WEIGHTS_PICTURE, MAP_PICTURE = "weights.png", "clusters.png"


def read_refinement(folder: Path) -> RefinementReport:
    """The report in a folder of `write_refinement`."""
    return RefinementReport.from_json(json.loads((folder / REPORT_FILE).read_text(encoding="utf-8")))


def write_refinement(
    folder: Path,
    report: RefinementReport,
    pool: Pool,
    embeddings: np.ndarray,
    replies: Mapping[int, RoundReplies],
) -> Mapping[str, Any]:
    """report.json, report.md, dropped.jsonl (clusters only) and the pictures; returns a summary of a few numbers.

    pool: the whole pool. embeddings: (n, d) by which the map is laid out. replies: number of a round -> what its model
    answered, of the scored rounds."""
    found = [] if report.names is None else changes(report, pool, replies)
    write_whole(folder / REPORT_FILE, json.dumps(report.to_json()) + "\n")
    if report.names is not None:
        write_whole(folder / DROPPED_FILE, _lines(report, found))
    pictures = [*_draw(folder, report, embeddings)]
    write_whole(folder / "report.md", markdown(report, pool, found, pictures))
    return _summary(report, found)


def read_dropped(folder: Path) -> list[dict[str, Any]]:
    """The lines of dropped.jsonl, none without clusters."""
    path = folder / DROPPED_FILE
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _lines(report: RefinementReport, found: list[Change]) -> str:
    """The clusters that lost weight, the most first, then the rows without S."""
    clusters = [change.to_json() for change in fallen(found)]
    rows = [
        {"kind": "row", "row": row, "round": entry.number, "why": why}
        for entry in report.rounds
        for row, why in entry.unscored.items()
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [*clusters, *rows])


def _draw(folder: Path, report: RefinementReport, embeddings: np.ndarray) -> Iterator[str]:
    """Draw the pictures; their names, the map last."""
    from siftune.runs.rounds.plots import clusters_figure, weights_figure

    figures = {WEIGHTS_PICTURE: weights_figure(report), MAP_PICTURE: clusters_figure(report, embeddings)}
    for name, figure in figures.items():
        if figure is not None:
            figure.savefig(folder / name)
            yield name


def _summary(report: RefinementReport, found: list[Change]) -> dict[str, Any]:
    summary: dict[str, Any] = {"rounds": len(report.rounds), "rows": len(report.picks)}
    if report.weights is None:
        return summary
    return summary | {
        "clusters": report.clusters,
        "clusters_drawn_from": int(np.count_nonzero(report.sizes > report.left(len(report.rounds) + 1))),
        "clusters_dropped": sum(change.dropped for change in found),
        "clusters_as_even_as": round(spread(report.weights), 2),
        "rows_without_score": sum(len(entry.unscored) for entry in report.rounds),
    }
