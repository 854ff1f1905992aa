"""Which run stands for which printed row, and what comes of it: differences, gains over random, the methods' order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from siftune.runs.paper import HEADLINE, LABEL, Axis, ColumnRun, Paper
from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.rows import RANDOM, Statistic, latest
from siftune.runs.reporting.variants import split
from siftune.runs.reproduction.comparison import (
    AVERAGE,
    Agreement,
    ComparedRow,
    Figure,
    PaperComparison,
    headline_first,
)
from siftune.runs.reproduction.printed import Key, PrintedRow, axes_of, key_of, printed_rows, same, value_at

FEWEST = 3
"""Methods whose order says something."""


def compare_with_paper(runs: Sequence[RunRecord], paper: Paper | None, miniature: bool) -> PaperComparison | None:
    """Every printed row that runs can stand for, beside the mean over seeds of the runs that do; then the other runs.

    None where there is no paper, or no figure of it is known."""
    if paper is None or paper.table is None:
        return None
    printed, axes = printed_rows(paper, miniature), axes_of(paper, miniature)
    paper, printed = _with_average(paper, printed)
    rows = _with_gains([*_rows(runs, printed, paper, axes)])
    return PaperComparison(
        paper=paper,
        miniature=miniature,
        rows=rows,
        agreements=tuple(_agreements(rows, paper)),
        not_run=tuple(", ".join(row.names.values()) for row in printed if row.key is None),
        printed_rows=tuple(printed),
    )


def _with_average(paper: Paper, printed: Sequence[PrintedRow]) -> tuple[Paper, list[PrintedRow]]:
    """Where no printed column is the headline's, the mean of those that runs can have is: it orders the methods."""
    columns = [column for column, task in paper.columns.items() if task is not None]
    if HEADLINE in paper.columns.values() or len(columns) < 2:
        return paper, list(printed)
    rows = []
    for row in printed:
        known = [row.values[column] for column in columns if column in row.values]
        mean = {AVERAGE: fmean(known)} if len(known) == len(columns) else {}
        rows.append(replace(row, values={**row.values, **mean}))
    return replace(paper, columns={AVERAGE: HEADLINE, **paper.columns}), rows


def _rows(
    runs: Sequence[RunRecord], printed: Sequence[PrintedRow], paper: Paper, axes: Mapping[str, Axis]
) -> Iterator[ComparedRow]:
    methods = [column for column, axis in axes.items() if axis.key == LABEL]
    left = list(runs)
    for row in printed:
        if row.key is None:
            continue
        key = row.key
        own = [run for run in left if _matches(run, key, axes, by_label=bool(methods))]
        left = [run for run in left if run not in own]
        name = row.names[methods[0]] if methods else ", ".join(row.names.values())
        context = ", ".join(text for column, text in row.names.items() if column not in methods) if methods else ""
        is_random = any(dict(key)[column] == RANDOM for column in methods)
        for variant, members in (_variants(own, paper) if own else {"": []}).items():
            yield ComparedRow(
                name=f"{name}{variant}",
                context=context,
                key=key,
                is_random=is_random,
                figures=_figures(row.values, members, paper),
                runs=tuple(members),
            )
    yield from _others(left, printed, paper, axes)


def _others(
    runs: Sequence[RunRecord], printed: Sequence[PrintedRow], paper: Paper, axes: Mapping[str, Axis]
) -> Iterator[ComparedRow]:
    """Runs that no printed row stands for: the base model, and whatever else the grids have."""
    spelling = {column: {value: text for text, value in axis.values.items()} for column, axis in axes.items()}
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for run in runs:
        others = {column: value for column, value in key_of(run, axes) if axes[column].key != LABEL}
        shown = [str(spelling[column].get(value, value)) for column, value in others.items() if value is not None]
        groups.setdefault((run.label, ", ".join(shown)), []).append(run)
    labelled = any(axis.key == LABEL for axis in axes.values())
    for (label, context), own in groups.items():
        for variant, members in _variants(own, paper).items():
            yield ComparedRow(
                name=f"{label}{variant}",
                context=context if labelled else "",
                key=key_of(members[0], axes),
                is_random=label == RANDOM,
                figures=_figures({}, members, paper),
                runs=tuple(members),
            )


def _matches(run: RunRecord, key: Key, axes: Mapping[str, Axis], by_label: bool) -> bool:
    # The untrained model has a budget and a number of epochs in its config, and neither picks nor trains.
    if run.is_base and not by_label:
        return False
    return all(same(value_at(run, axes[column].key), value) for column, value in key)


def _variants(runs: Sequence[RunRecord], paper: Paper) -> dict[str, list[RunRecord]]:
    """What is added to the name -> the runs that differ in nothing but the seed, the last of each seed.

    Where columns have runs of their own, those of all columns make one row."""
    if any(_fulfils(run, condition) for run in runs for condition in paper.column_runs.values()):
        return {"": list(runs)}
    return {name.removeprefix(own[0].label): list(latest(own)) for name, own in split(runs).items()}


def _fulfils(run: RunRecord, condition: ColumnRun) -> bool:
    return same(value_at(run, condition.key), condition.value)


def _figures(printed: Mapping[str, float], runs: Sequence[RunRecord], paper: Paper) -> dict[str, Figure]:
    divided = any(_fulfils(run, condition) for run in runs for condition in paper.column_runs.values())
    found: dict[str, Statistic | None] = {}
    directions = {column: 1 if task is None else _direction(runs, task) for column, task in paper.columns.items()}
    for column, task in paper.columns.items():
        own = _of_column(runs, column, paper) if divided else list(runs)
        scale = paper.scale if directions[column] == 1 else 1.0
        found[column] = None if task is None else _statistic(own, task, scale)
    for column, task in paper.columns.items():
        if divided and task == HEADLINE and column not in paper.column_runs:
            found[column] = _mean_of([found[other] for other in paper.column_runs])
    return {
        column: Figure(paper=printed.get(column), ours=found[column], direction=directions[column])
        for column in paper.columns
    }


def _direction(runs: Sequence[RunRecord], task: str) -> int:
    found = set()
    for run in runs:
        names = (run.headline_tasks or tuple(run.scores)) if task == HEADLINE else (task,)
        found |= {1 if run.scores[name].higher_is_better else -1 for name in names if name in run.scores}
    return 1 if not found else found.pop() if len(found) == 1 else 0


def _of_column(runs: Sequence[RunRecord], column: str, paper: Paper) -> list[RunRecord]:
    condition = paper.column_runs.get(column)
    own = [] if condition is None else [run for run in runs if _fulfils(run, condition)]
    variants = list(split(own).values()) if own else [[]]
    # Of several variants the last that was made: seeds alone are averaged.
    return list(latest(max(variants, key=lambda members: max((run.created for run in members), default=""))))


def _statistic(runs: Sequence[RunRecord], task: str, scale: float) -> Statistic | None:
    values: dict[int, float] = {}
    for run in runs:
        value = run.headline if task == HEADLINE else run.scores[task].value if task in run.scores else None
        if value is None:
            return None
        values[run.seed] = scale * value
    return Statistic(values=values) if values else None


def _mean_of(statistics: Sequence[Statistic | None]) -> Statistic | None:
    """The average over columns, seed by seed; None where a column or a seed of it is missing."""
    known = [statistic for statistic in statistics if statistic is not None]
    if not known or len(known) < len(statistics):
        return None
    seeds = set.intersection(*(set(statistic.values) for statistic in known))
    return Statistic(values={s: fmean(k.values[s] for k in known) for s in sorted(seeds)}) if seeds else None


def _with_gains(rows: Sequence[ComparedRow]) -> tuple[ComparedRow, ...]:
    return tuple(
        replace(row, figures={column: _with_gain(figure, column, row, rows) for column, figure in row.figures.items()})
        for row in rows
    )


def _with_gain(figure: Figure, column: str, row: ComparedRow, rows: Sequence[ComparedRow]) -> Figure:
    """Over random selection under the same model, budget ...: where there is one of it, and not for itself."""
    random = [r.figures[column] for r in rows if r.is_random and r.context == row.context and not row.is_random]
    theirs = [found.paper for found in random if found.paper is not None]
    ours = [found.merit for found in random if found.merit is not None]
    own = figure.merit
    return replace(
        figure,
        paper_over_random=figure.paper - theirs[0] if figure.paper is not None and len(theirs) == 1 else None,
        ours_over_random=own - ours[0] if own is not None and len(ours) == 1 else None,
    )


def _agreements(rows: Sequence[ComparedRow], paper: Paper) -> Iterator[Agreement]:
    for column in headline_first(paper):
        for context in dict.fromkeys(row.context for row in rows):
            figures = [row.figures[column] for row in rows if row.context == context]
            pairs = [(f.paper, f.merit) for f in figures if f.paper is not None and f.merit is not None]
            if pairs:
                yield Agreement(column=column, context=context, count=len(pairs), spearman=_spearman(pairs))


def _spearman(pairs: Iterable[tuple[float, float]]) -> float | None:
    from scipy.stats import spearmanr

    theirs, ours = (list(values) for values in zip(*pairs, strict=True))
    if len(ours) < FEWEST or len(set(theirs)) == 1 or len(set(ours)) == 1:
        return None
    value = float(spearmanr(theirs, ours).statistic)
    return value if math.isfinite(value) else None
