"""A refinement loop as tables: a round for the terminal, the whole in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from siftune.runs.rounds.changes import Change, Example, cut, fallen, prompt, risen
from siftune.runs.rounds.report import RefinementReport, RoundReport
from siftune.selection.pool.store import Pool

MISSING = "–"
SHOWN = 3
"""Clusters that gained and that lost most, of which a round's table tells."""
SCORED, UNSCORED = ("scored", "mean S", "weight", "next", "x first"), ("weight", "x first")
ALL_SHOWN = 8
"""So many clusters are all shown, in the terminal."""
LISTED = 20
"""So many clusters have a table of their own in report.md; of more, as many sentences as this are given."""


def print_round(report: RefinementReport, console: Console) -> None:
    """Print the last round of a report: of few clusters all, of many those whose weights it changed most."""
    entry = report.rounds[-1]
    console.print(Text(headline(report, entry), style="bold"))
    if report.names is None:
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 2))
    for header in ("cluster", "rows", "drawn", *(UNSCORED if entry.means is None else SCORED)):
        table.add_column(header, justify="left" if header == "cluster" else "right", no_wrap=True)
    chosen = _most_changed(report, entry)
    for position, cluster in enumerate(chosen):
        if len(chosen) < report.clusters and position == len(chosen) // 2:
            table.add_row("…")
        table.add_row(*(Text(cell) for cell in _cells(report, entry, cluster)))
    console.print(table)
    for reason, count in Counter(entry.unscored.values()).most_common(SHOWN):
        console.print(Text(f"{count:,} without S: {reason}", style="dim"))


def markdown(report: RefinementReport, pool: Pool, found: list[Change], pictures: Sequence[str]) -> str:
    """report.md. found: of `changes`, none without clusters. pictures: names of files beside it."""
    parts = ["# Refinement", "", *_rounds_table(report), ""]
    for picture in pictures:
        parts += [f"![{picture.split('.')[0]}]({picture})", ""]
    if report.names is not None:
        if report.clusters <= LISTED:
            parts += ["## Clusters", "", *_clusters_table(report), ""]
        parts += [*_told("Weight lost", fallen(found)), *_told("Weight gained", risen(found))]
        if found and not fallen(found) and not risen(found):
            why = " `ratio` counts negative means as 0." if report.weighting == "ratio" else ""
            parts += [f"No weight has changed.{why}", ""]
        parts += _unscored(report, pool)
    return "\n".join(parts)


def headline(report: RefinementReport, entry: RoundReport) -> str:
    """A round in a line."""
    text = f"round {entry.number}: {len(entry.rows):,} rows"
    if entry.weights is not None:
        text += f" of {np.count_nonzero(report.drawn(entry)):,} of {report.clusters:,} clusters"
    if entry.values is not None and np.isfinite(entry.values).any():
        known = np.isfinite(entry.values)
        text += f", mean S {entry.values[known].mean():+.3f} ({known.sum():,} scored)"
    if entry.gains is not None and np.isfinite(entry.gains).any():
        known = entry.gains[np.isfinite(entry.gains)]
        text += f", farthest first: distance {known[0]:.3g} to {known[-1]:.3g}"
    return text


def _most_changed(report: RefinementReport, entry: RoundReport) -> list[int]:
    """The clusters to show, from the one that gained most in the round to the one that lost most."""
    assert entry.weights is not None
    assert report.weights is not None
    change = np.log(np.maximum(report.weights, 1e-300)) - np.log(np.maximum(entry.weights, 1e-300))
    order = np.lexsort((-entry.weights, -change)).tolist()
    if report.clusters <= ALL_SHOWN:
        return order
    if entry.means is not None:
        order = [cluster for cluster in order if np.isfinite(entry.means[cluster])]
    return order if len(order) <= 2 * SHOWN else [*order[:SHOWN], *order[-SHOWN:]]


def _cells(report: RefinementReport, entry: RoundReport, cluster: int) -> list[str]:
    assert report.names is not None
    assert report.weights is not None
    assert entry.weights is not None
    cells = [cut(report.names[cluster], 24), f"{report.sizes[cluster]:,}", f"{report.drawn(entry)[cluster]:,}"]
    if entry.means is not None:
        cells += [f"{report.scored(entry)[cluster]:,}", _signed(entry.means[cluster])]
    weights = [entry.weights[cluster], *([report.weights[cluster]] if entry.means is not None else [])]
    return [*cells, *(f"{weight:.3g}" for weight in weights), f"{report.relative()[-1, cluster]:.2f}"]


def _rounds_table(report: RefinementReport) -> list[str]:
    if report.names is None:
        lines = ["| round | rows | first distance | last distance |", "| ---: | ---: | ---: | ---: |"]
        for entry in report.rounds:
            gains = np.full(len(entry.rows), np.nan) if entry.gains is None else entry.gains
            known = [f"{gain:.3g}" for gain in gains[np.isfinite(gains)]] or [MISSING]
            lines.append(f"| {entry.number} | {len(entry.rows):,} | {known[0]} | {known[-1]} |")
        return [*lines, "", "Distance: of a pick to the nearest row picked before it, by the embeddings of its round."]
    weights, _ = report.history()
    lines = ["| round | rows | clusters drawn from | weights as even as over | scored | mean S |"]
    lines.append("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for entry, drew_by in zip(report.rounds, weights, strict=False):
        values = np.full(len(entry.rows), np.nan) if entry.values is None else entry.values
        known = values[np.isfinite(values)]
        cells = [f"{np.count_nonzero(report.drawn(entry)):,} of {report.clusters:,}", f"{spread(drew_by):.1f} clusters"]
        cells += [f"{len(known):,}", f"{known.mean():+.3f}"] if len(known) else ["not scored", MISSING]
        lines.append(f"| {entry.number} | {len(entry.rows):,} | {' | '.join(cells)} |")
    return [*lines, "", explained(report)]


def explained(report: RefinementReport) -> str:
    """What S is, and what it does."""
    what = {
        "log_ratio": f"log({report.score} of the round's model's reply) - log({report.score} of the pool's answer)",
        "difference": f"{report.score} of the pool's answer - {report.score} of the round's model's reply",
    }
    assert report.compare is not None
    by = f" Its means become weights by `{report.weighting}`." if report.weighting else ""
    return f"S of a row: {what[report.compare]}; the higher, the more the model has to learn from the answer.{by}"


def _clusters_table(report: RefinementReport) -> list[str]:
    assert report.names is not None
    weights, points = report.history()
    head = ["cluster", "rows", *(f"weight, {point}" for point in points)]
    head += [f"{what}, round {entry.number}" for entry in report.rounds for what in ("drawn", "mean S")]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for cluster in np.argsort(-weights[-1], kind="stable"):
        cells = [report.names[cluster].replace("|", "\\|"), f"{report.sizes[cluster]:,}"]
        cells += [f"{weight:.3g}" for weight in weights[:, cluster]]
        for entry in report.rounds:
            mean = np.nan if entry.means is None else entry.means[cluster]
            cells += [f"{report.drawn(entry)[cluster]:,}", _signed(mean)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _told(title: str, found: Sequence[Change]) -> list[str]:
    """A sentence a cluster, an example below it."""
    if not found:
        return []
    dropped = sum(change.dropped for change in found)
    count = "1 cluster" if len(found) == 1 else f"{len(found):,} clusters"
    lines = [f"## {title}", "", f"{count}, {dropped:,} of them drawn no more." if dropped else f"{count}."]
    for change in found[:LISTED]:
        lines += ["", f"- {change.why}", *([] if change.example is None else _shown(change.example))]
    rest = len(found) - LISTED
    return [*lines, "", *([f"And {rest:,} more in dropped.jsonl or report.json.", ""] if rest > 0 else [])]


def _shown(example: Example) -> list[str]:
    lines = [f"  Row `{example.id}` of round {example.round}, S {example.value:+.2f}:", ""]
    texts = {"prompt": example.prompt, "the pool's answer": example.gold, "the model's reply": example.reply}
    return ["", *lines, *(f"  - {name}: {_code(cut(text, 300))}" for name, text in texts.items())]


def _code(text: str) -> str:
    """A text on one line, as code."""
    return f"`` {' '.join(text.split())} ``" if text.strip() else "(empty)"


def _unscored(report: RefinementReport, pool: Pool) -> list[str]:
    reasons = [(entry.number, row, why) for entry in report.rounds for row, why in entry.unscored.items()]
    if not reasons:
        return []
    lines = ["## Rows without S", "", "Their clusters' means are of the other rows.", ""]
    lines += ["| reason | rows | the first of them |", "| --- | ---: | --- |"]
    for why, count in Counter(why for _, _, why in reasons).most_common(LISTED):
        number, row = next((number, row) for number, row, other in reasons if other == why)
        text = cut(" ".join(prompt(pool.row(int(np.flatnonzero(pool.ids == row)[0]))).split()), 100)
        lines.append(f"| {why} | {count:,} | `{row}` (round {number}): {_code(text)} |".replace("\n", " "))
    return [*lines, ""]


def _signed(mean: float) -> str:
    return MISSING if np.isnan(mean) else f"{mean:+.2f}"


def spread(weights: np.ndarray) -> float:
    """How many clusters of equal weight are as spread out: the exponential of the weights' entropy."""
    positive = weights[weights > 0]
    return float(np.exp(-(positive * np.log(positive)).sum()))
