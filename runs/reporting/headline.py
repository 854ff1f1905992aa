"""The score by which the methods of a section are judged."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from siftune.runs.reporting.rows import HEADLINE, RANDOM, Column, Row, Section, Statistic


def with_headline(section: Section) -> Section:
    """The section with the score it is judged by as its first column, and its rows in that order, best first.

    That is the suite's headline average; of tasks that all have one metric their mean; else the first task."""
    directed = [column for column in section.columns if column.higher_is_better is not None]
    if not directed:
        return section
    if directed[0].name == HEADLINE:
        return _ordered(replace(section, columns=(directed[0], *_without(section, HEADLINE))))
    tasks = [column for column in directed if column.name != HEADLINE]
    alike = len({(column.metric, column.higher_is_better) for column in tasks}) == 1
    if len(tasks) == 1 or not alike:
        return _ordered(replace(section, columns=(tasks[0], *_without(section, tasks[0].name))))
    average = Column(name=f"mean of {len(tasks)}", metric=tasks[0].metric, higher_is_better=tasks[0].higher_is_better)
    rows = tuple(_averaged(row, average, tasks) for row in section.rows)
    return _ordered(replace(section, columns=(average, *section.columns), rows=rows))


def judged_by(section: Section) -> Column | None:
    """The first column of a section that `with_headline` made, if it has a direction."""
    columns = [column for column in section.columns[:1] if column.higher_is_better is not None]
    return columns[0] if columns else None


def tasks_in(section: Section, column: Column) -> tuple[str, ...]:
    """The tasks whose scores a column is the mean of; of a task itself alone."""
    run = section.rows[0].runs[0]
    if column.name in run.scores:
        return (column.name,)
    return run.headline_tasks if column.name == HEADLINE else tuple(run.scores)


def _without(section: Section, name: str) -> tuple[Column, ...]:
    return tuple(column for column in section.columns if column.name != name)


def _averaged(row: Row, average: Column, tasks: list[Column]) -> Row:
    values = {run.seed: fmean(run.scores[task.name].value for task in tasks) for run in row.runs}
    return replace(row, scores={average.name: Statistic(values=values), **row.scores})


def _ordered(section: Section) -> Section:
    """The base model, random, then the methods, best first."""
    column = section.columns[0]
    sign = -1.0 if column.higher_is_better else 1.0

    def key(row: Row) -> tuple[int, float, str]:
        rank = 0 if row.is_base else 1 if row.label == RANDOM else 2
        return rank, sign * row.scores[column.name].mean if column.name in row.scores else float("inf"), row.name

    return replace(section, rows=tuple(sorted(section.rows, key=key)))
