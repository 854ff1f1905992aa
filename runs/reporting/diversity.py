"""How diverse the subsets are, by NovelSum and the measures that it is judged against."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from siftune.runs.measuring.report import MeasuredSet, MeasureReport
from siftune.runs.measuring.table import label_of
from siftune.runs.reporting.content import Cell, Table
from siftune.runs.reporting.content import Column as Header
from siftune.runs.reporting.rows import Statistic, decimals_for
from siftune.runs.reporting.subsets import PickedSection, Picks
from siftune.runs.tables import MISSING
from siftune.selection.measures.reference import Reference
from siftune.selection.measures.settings import MeasureSettings
from siftune.selection.pool.texts import PoolTexts

REFERENCE_ROWS = 10_000
"""A pool with more rows stands for itself by so many of them."""
SUBSET_ROWS = 3000
"""Likewise a subset: the measures of pairs take its square."""
FIRST = ("novelsum",)


@dataclass(frozen=True)
class Diversity:
    """The measures of each method's subsets."""

    report: MeasureReport
    """Means over the seeds."""
    spread: dict[str, dict[str, float | None]]
    """Method -> measure -> sample standard deviation over the seeds."""
    sampled: bool
    """Whether the pool or a subset was too large to be read whole."""


def diversity_of(section: PickedSection, reference: Reference | None = None) -> Diversity | None:
    """Measures of every subset; None where the store has no embeddings of the pool."""
    if section.pool.embeddings is None:
        return None
    encoder, embeddings = section.pool.embeddings
    against = reference or pool_reference(embeddings)
    found = {picks.name: _measured(section, picks, embeddings, against) for picks in section.methods}
    sets = tuple(
        MeasuredSet(picks.name, len(picks.first), {n: s.mean for n, s in found[picks.name].items()}, {}, "")
        for picks in section.methods
    )
    report = MeasureReport(
        pool=section.pool.name,
        pool_fingerprint=section.pool.fingerprint,
        pool_rows=len(section.pool),
        encoder=encoder,
        reference=None,
        settings=MeasureSettings(),
        sets=sets,
    )
    sampled = len(section.pool) > REFERENCE_ROWS or any(item.rows > SUBSET_ROWS for item in sets)
    return Diversity(report, {name: {n: s.std for n, s in own.items()} for name, own in found.items()}, sampled)


def pool_reference(embeddings: np.ndarray) -> Reference:
    """The pool, or a sample of it, that densities and coverage refer to; one for all sections of a pool."""
    return Reference(np.asarray(embeddings[_some(np.arange(len(embeddings)), REFERENCE_ROWS)]), MeasureSettings())


def diversity_table(section: PickedSection, found: Diversity, name: str) -> Table:
    """A row a method, a column a measure, NovelSum first; bold: the most diverse of as many rows."""
    names = [*FIRST, *(measure for measure in found.report.names if measure not in FIRST)]
    columns = [Header(header="method", numeric=False), Header(header="rows")]
    cells = [
        [Cell(text=item.name, value=item.name), Cell(text=f"{item.rows:,}", value=item.rows)]
        for item in found.report.sets
    ]
    for measure in names:
        values = [item.values[measure] for item in found.report.sets]
        if all(math.isnan(value) for value in values):
            continue
        decimals = decimals_for([value for value in values if not math.isnan(value)])
        best = found.report.best(measure, decimals)
        columns.append(Header(header=label_of(measure)))
        for item, line in zip(found.report.sets, cells, strict=True):
            line.append(_cell(item.values[measure], found.spread[item.name][measure], decimals, item.name in best))
    sample = f" Of larger pools and subsets {REFERENCE_ROWS:,} and {SUBSET_ROWS:,} rows stand for all." * found.sampled
    caption = (
        f"Diversity of the subsets, {section.title}: embeddings by {found.report.encoder}, the pool as the reference; "
        f"mean ± sample standard deviation over seeds; ↑ larger is more diverse, ↓ smaller is.{sample}"
    )
    return Table(name=name, columns=tuple(columns), rows=tuple(tuple(line) for line in cells), caption=caption)


def _measured(
    section: PickedSection, picks: Picks, embeddings: np.ndarray, reference: Reference
) -> dict[str, Statistic]:
    values = {}
    for seed, rows in picks.rows.items():
        some = np.sort(_some(rows, SUBSET_ROWS))
        texts = list(PoolTexts(section.pool.pool.part(some)))
        values[seed] = reference.measure(np.asarray(embeddings[some]), texts)
    return {name: _defined({seed: own[name] for seed, own in values.items()}) for name in next(iter(values.values()))}


def _defined(values: dict[int, float]) -> Statistic:
    """Over the seeds whose subset has a value; NaN where none has."""
    known = {seed: value for seed, value in values.items() if not math.isnan(value)}
    return Statistic(values=known or dict(list(values.items())[:1]))


def _cell(value: float, spread: float | None, decimals: int, best: bool) -> Cell:
    if math.isnan(value):
        return Cell(text=MISSING)
    after = "" if spread is None else f" ± {spread:,.{decimals}f}"
    return Cell(text=f"{value:,.{decimals}f}{after}", value=value, best=best)


def _some(rows: np.ndarray, most: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    drawn: np.ndarray = np.random.default_rng(0).choice(rows, most, replace=False, shuffle=False)
    return drawn
