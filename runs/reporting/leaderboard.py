"""The leaderboard of a report: which method won, by how much, and whether that is more than luck."""

from __future__ import annotations

from collections.abc import Sequence

from siftune.runs.comparing.answers import Read
from siftune.runs.reporting.contamination import beside, explained
from siftune.runs.reporting.content import Cell, Part, Picture, Table
from siftune.runs.reporting.content import Column as Header
from siftune.runs.reporting.headline import judged_by, with_headline
from siftune.runs.reporting.intervals import CONFIDENCE, Intervals, intervals_of
from siftune.runs.reporting.plots import scores_figure
from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.rows import Column, Row, Section, Statistic, decimals_for, sections
from siftune.runs.reporting.significance import LEVEL, Difference, Differences, against_random
from siftune.runs.tables import MISSING

DIFFERS = "*"
REASONS = 3
"""So many reasons for a missing test are told."""
OF_INTERVALS = (
    f"Intervals ({CONFIDENCE:.0%}) are percentile bootstraps over the documents, the scores averaged over the seeds; "
    "where a task keeps no number of each document they are over the seeds. What seeds differ in is in the ±, the "
    "sample standard deviation over them."
)
MCNEMAR = (
    "McNemar's exact test of the questions that only one of the two answers right (seeds: by net flips, question by "
    "question)"
)
WILCOXON = "Wilcoxon's signed-rank test over the documents (seeds: of their means)"


def leaderboard_part(runs: Sequence[RunRecord]) -> Part | None:
    """Per section of comparable runs its scores and what sets the methods apart from random; None without a score."""
    tables: list[Table] = []
    pictures: list[Picture] = []
    text: dict[str, None] = {}
    found = [with_headline(section) for section in sections(runs) if section.columns]
    for number, section in enumerate(found, start=1):
        read: Read = {}
        suffix = "" if number == 1 else f"-{number}"
        intervals, differences = intervals_of(section, read), against_random(section, read)
        tables += _tables(section, intervals, differences, suffix)
        pictures += _pictures(section, suffix)
        text |= dict.fromkeys(_texts(section, intervals, differences))
    if not found:
        return None
    return Part(name="leaderboard", title="Leaderboard", text=tuple(text), tables=tables, pictures=pictures)


def _tables(section: Section, intervals: Intervals, differences: Differences | None, suffix: str) -> list[Table]:
    tables = [_scores(section, intervals, differences, suffix)]
    if differences is not None:
        tables += _against(section, differences, suffix)
    return tables


def _scores(section: Section, intervals: Intervals, differences: Differences | None, suffix: str) -> Table:
    main = judged_by(section)
    columns = [Header(header="method", numeric=False), Header(header="seeds")]
    cells = [[Cell(text=row.name, value=row.name), _plain(len(row.runs))] for row in section.rows]
    for column in section.columns:
        columns.append(Header(header=f"{column.name} {column.arrow}".strip(), detail=column.metric))
        for row, line in zip(section.rows, cells, strict=True):
            line.append(_score(section, column, row, intervals, differences))
        if column is main and any((row.name, column.name) in intervals for row in section.rows):
            columns.append(Header(header=f"{CONFIDENCE:.0%} interval", detail=f"of {column.name}"))
            for row, line in zip(section.rows, cells, strict=True):
                line.append(_interval(section, column, row, intervals))
    rows = tuple(tuple(line) for line in cells)
    return Table(name=f"leaderboard{suffix}", columns=tuple(columns), rows=rows, caption=section.title)


def _score(section: Section, column: Column, row: Row, intervals: Intervals, differences: Differences | None) -> Cell:
    statistic = row.scores.get(column.name)
    if statistic is None:
        return Cell(text=MISSING)
    decimals = _decimals(section, column)
    difference = None if differences is None else differences.found.get((row.name, column.name))
    interval = intervals.get((row.name, column.name))
    notes = [] if interval is None else [interval.explained(decimals, len(row.runs))]
    notes += [] if difference is None else [_against_in_words(difference, decimals)]
    mark = DIFFERS if difference is not None and difference.significant else ""
    return Cell(
        text=_spelled(statistic, decimals) + mark + beside(row, column),
        value=statistic.mean,
        best=row.name in section.best(column, decimals),
        note="; ".join(notes),
    )


def _interval(section: Section, column: Column, row: Row, intervals: Intervals) -> Cell:
    interval = intervals.get((row.name, column.name))
    if interval is None:
        return Cell(text=MISSING)
    decimals = _decimals(section, column)
    return Cell(text=interval.spelled(decimals), value=interval.low, note=interval.explained(decimals, len(row.runs)))


def _against(section: Section, differences: Differences, suffix: str) -> list[Table]:
    """By the headline with everything that was found, and by task in short."""
    rows = [row for row in section.rows if any(row.name == name for name, _ in differences.found)]
    columns = [column for column in section.columns if column.higher_is_better is not None]
    main = columns[0]
    found = [
        (row, differences.found[row.name, main.name]) for row in rows if (row.name, main.name) in differences.found
    ]
    tables = []
    if found:
        tables.append(
            Table(
                name=f"against-random{suffix}",
                columns=(
                    Header(header="method", numeric=False),
                    Header(header="better than random by", detail=f"{main.name}, {main.metric}"),
                    Header(header=f"{CONFIDENCE:.0%} interval"),
                    Header(header="questions"),
                    Header(header="better"),
                    Header(header="worse"),
                    Header(header="p"),
                    Header(header="adjusted p", detail="Holm"),
                ),
                rows=tuple(_tested(row, item, _decimals(section, main)) for row, item in found),
                caption=f"Against random: {section.title}",
            )
        )
    if len(columns) > 1:
        tables.append(_by_task(section, rows, columns, differences, suffix))
    return tables


def _tested(row: Row, item: Difference, decimals: int) -> tuple[Cell, ...]:
    interval = Cell(text=MISSING)
    if item.interval is not None:
        interval = Cell(text=_between(item.interval, decimals), value=item.interval[0])
    counts = (item.questions, item.better, item.worse) if item.p is not None else (None, None, None)
    return (
        Cell(text=row.name, value=row.name),
        Cell(text=_spelled(item.improvement, decimals, "+"), value=item.improvement.mean),
        interval,
        *(Cell(text=MISSING) if count is None else _plain(count) for count in counts),
        Cell(text=_probability(item.p), value=item.p),
        Cell(text=_probability(item.adjusted), value=item.adjusted, best=item.significant),
    )


def _by_task(
    section: Section, rows: Sequence[Row], columns: Sequence[Column], differences: Differences, suffix: str
) -> Table:
    headers = [Header(header=f"{column.name} {column.arrow}".strip(), detail=column.metric) for column in columns]
    cells = []
    for row in rows:
        line = [Cell(text=row.name, value=row.name)]
        for column in columns:
            item, decimals = differences.found.get((row.name, column.name)), _decimals(section, column)
            line.append(Cell(text=MISSING) if item is None else _short(item, decimals))
        cells.append(tuple(line))
    caption = f"Better than random by, task by task (adjusted p): {section.title}"
    return Table(
        name=f"against-random-tasks{suffix}",
        columns=(Header(header="method", numeric=False), *headers),
        rows=tuple(cells),
        caption=caption,
        collapsed=True,
    )


def _short(item: Difference, decimals: int) -> Cell:
    p = "" if item.adjusted is None else f" ({_probability(item.adjusted)})"
    text = f"{item.improvement.mean:+.{decimals}f}{p}"
    return Cell(text=text, value=item.improvement.mean, best=item.significant, note=_against_in_words(item, decimals))


def _against_in_words(item: Difference, decimals: int) -> str:
    parts = [f"better than random by {item.improvement.mean:+.{decimals}f}"]
    if item.interval is not None:
        parts.append(_between(item.interval, decimals))
    if item.p is not None:
        parts.append(f"{item.better} of {item.questions} documents better, {item.worse} worse")
        parts.append(f"p {_probability(item.p)}, adjusted {_probability(item.adjusted)}")
    return ", ".join(parts)


def _texts(section: Section, intervals: Intervals, differences: Differences | None) -> list[str]:
    text = []
    if any(column.higher_is_better is False for column in section.columns):
        text.append("↑ higher is better, ↓ lower is. Bold: the best mean of a column.")
    else:
        text.append("Bold: the best mean of a column.")
    if intervals:
        text.append(OF_INTERVALS)
    if differences is not None and (differences.binary or differences.values):
        tests = [MCNEMAR] * differences.binary + [WILCOXON] * differences.values
        text.append(
            f"Differences to random are signed so that positive is better. p: {'; '.join(tests)}. Adjusted: by Holm's "
            f"method over the methods of a column; {DIFFERS} marks scores, better or worse ones, for which it is below "
            f"{LEVEL:.2f}."
        )
    if differences is not None and differences.untested:
        shown = differences.untested[:REASONS]
        more = len(differences.untested) - len(shown)
        text.append(f"Without a test: {'; '.join(shown)}{f'; and {more} more' if more else ''}.")
    text += [f"{note[0].upper()}{note[1:]}." for note in explained(section)]
    if section.superseded:
        text.append(f"{section.superseded} older runs of the same configuration and seed are left out.")
    return text


def _pictures(section: Section, suffix: str) -> list[Picture]:
    figure = scores_figure(section)
    if figure is None:
        return []
    caption = f"Scores of every method by task, {section.title}: mean, standard deviation and every seed."
    return [Picture(name=f"scores{suffix}", figure=figure, caption=caption)]


def _decimals(section: Section, column: Column) -> int:
    return decimals_for([row.scores[column.name].mean for row in section.rows if column.name in row.scores])


def _spelled(statistic: Statistic, decimals: int, sign: str = "") -> str:
    text = f"{statistic.mean:{sign}.{decimals}f}"
    return text if statistic.std is None else f"{text} ± {statistic.std:.{decimals}f}"


def _between(interval: tuple[float, float], decimals: int) -> str:
    return f"[{interval[0]:+.{decimals}f}, {interval[1]:+.{decimals}f}]"


def _probability(value: float | None) -> str:
    if value is None:
        return MISSING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _plain(count: int) -> Cell:
    return Cell(text=f"{count:,}", value=count)
