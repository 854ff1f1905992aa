"""What a refinement loop did to each cluster and why, as sentences with an example row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from siftune.runs.rounds.report import RefinementReport, RoundReplies, RoundReport
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool

TEXT_LENGTH = 600
"""Characters of a prompt or an answer that an example shows."""

ROUNDING = 1e-9
"""A change of a weight by no more than this factor is none."""


@dataclass(frozen=True)
class Example:
    """A scored row that is typical of its cluster: of those of a round, the one nearest to the cluster's mean S."""

    id: str
    round: int
    prompt: str
    gold: str
    reply: str
    value: float
    """S."""


@dataclass(frozen=True)
class Change:
    """What became of a cluster."""

    cluster: int
    name: str
    size: int
    weights: tuple[float, ...]
    """By which each round drew, and the one after the last where that was scored."""
    drawn: tuple[int, ...]
    """Rows by round."""
    means: tuple[float | None, ...]
    """Mean S by round."""
    dropped: bool
    """Its weight fell, it gave rows in an earlier round, and it gave none in the last one though it had some left."""
    why: str
    example: Example | None

    @property
    def factor(self) -> float:
        """The last weight over the first one."""
        return self.weights[-1] / self.weights[0] if self.weights[0] else 1.0

    def to_json(self) -> dict[str, Any]:
        """As it is written to dropped.jsonl."""
        example = None if self.example is None else vars(self.example)
        return {"kind": "cluster", **vars(self), "example": example}


def changes(report: RefinementReport, pool: Pool, replies: Mapping[int, RoundReplies]) -> list[Change]:
    """The clusters of which a row was scored, from the one whose weight fell most to the one whose rose most."""
    weights, _ = report.history()
    drawn = np.array([report.drawn(entry) for entry in report.rounds])
    scored = np.array([report.scored(entry) for entry in report.rounds])
    left = report.left(report.rounds[-1].number)
    found = []
    for cluster in np.flatnonzero(scored.any(axis=0)).tolist():
        fell = weights[-1, cluster] < weights[0, cluster] * (1 - ROUNDING)
        found.append(
            Change(
                cluster=cluster,
                name=report.cluster(cluster),
                size=int(report.sizes[cluster]),
                weights=tuple(weights[:, cluster].tolist()),
                drawn=tuple(drawn[:, cluster].tolist()),
                means=tuple(_mean(entry, cluster) for entry in report.rounds),
                dropped=bool(fell and drawn[-1, cluster] == 0 and left[cluster]),
                why=_why(report, cluster, weights, drawn),
                example=_example(report, cluster, pool, replies),
            )
        )
    return sorted(found, key=lambda change: (change.factor, change.cluster))


def fallen(found: list[Change]) -> list[Change]:
    """Those that lost weight, the most first."""
    return [change for change in found if change.factor < 1 - ROUNDING]


def risen(found: list[Change]) -> list[Change]:
    """Those that gained weight, the most first."""
    return [change for change in reversed(found) if change.factor > 1 + ROUNDING]


def meaning(report: RefinementReport, value: float) -> str:
    """What a mean S says."""
    if value == 0:
        return "the pool's answers and the model's replies are equal"
    if report.compare == "log_ratio":
        times = math.exp(min(abs(value), 30.0))
        one, other = ("the model's own replies", "the pool's answers")
        one, other = (one, other) if value < 0 else (other, one)
        return f"{one} are likelier than {other}, whose perplexity is {times:.2g} times as high"
    higher = "higher" if value > 0 else "lower"
    return f"the pool's answers have a {higher} {report.score} than the model's replies"


def _why(report: RefinementReport, cluster: int, weights: np.ndarray, drawn: np.ndarray) -> str:
    """E.g. cluster 17 (42 rows): 5 rows drawn in round 1, mean S -1.32 ... weight 0.016 -> 0.004; no row in round 2."""
    parts, signs = [], set()
    for position, entry in enumerate(report.rounds):
        count, mean, number = drawn[position, cluster], _mean(entry, cluster), entry.number
        if not count:
            parts.append(_none_drawn(report, cluster, entry))
            continue
        part = f"{_rows(count)} drawn in round {number}"
        if mean is not None:
            assert entry.values is not None
            part += f", mean S {mean:+.2f} (of all rows {np.nanmean(entry.values):+.2f})"
            part += "" if np.sign(mean) in signs else f": {meaning(report, mean)}"
            part += f"; weight {weights[position, cluster]:.3g} -> {weights[position + 1, cluster]:.3g}"
            signs.add(np.sign(mean))
        elif entry.means is not None:
            part += ", none with an S; the weight stays"
        parts.append(part)
    return f"{report.cluster(cluster)} ({_rows(report.sizes[cluster])}): {'. '.join(parts)}."


def _none_drawn(report: RefinementReport, cluster: int, entry: RoundReport) -> str:
    left = report.left(entry.number)[cluster]
    return f"No row in round {entry.number}, {f'though {_rows(left)} are left' if left else 'as all are taken'}"


def _mean(entry: RoundReport, cluster: int) -> float | None:
    """A cluster's mean S in a round, or None."""
    return None if entry.means is None or np.isnan(entry.means[cluster]) else float(entry.means[cluster])


def _example(report: RefinementReport, cluster: int, pool: Pool, replies: Mapping[int, RoundReplies]) -> Example | None:
    """Of the first round that scored the cluster: that is where the weights began to part."""
    assert report.labels is not None
    for entry in report.rounds:
        mean = _mean(entry, cluster)
        if mean is None or entry.values is None or entry.number not in replies:
            continue
        distance = np.where(report.labels[entry.rows] == cluster, abs(entry.values - mean), np.nan)
        position = int(np.nanargmin(distance))
        row, reply = pool.row(int(entry.rows[position])), replies[entry.number].reply(int(entry.rows[position]))
        value = float(entry.values[position])
        return Example(row.id, entry.number, prompt(row), cut(row.response()), cut(reply or ""), value)
    return None


def prompt(row: Row) -> str:
    """The last thing that a person says before the answer."""
    asked = [turn["content"] for turn in row.prompt_messages() if turn["role"] == "user"]
    return cut(asked[-1]) if asked else ""


def cut(text: str, length: int = TEXT_LENGTH) -> str:
    """A text that is not longer than an example may be."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"
