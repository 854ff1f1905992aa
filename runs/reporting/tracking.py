"""A report in W&B: its tables, figures and charts in one run, from which a report of W&B's own is put together."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siftune.runs.artifacts import read_record
from siftune.runs.fingerprint import fingerprint
from siftune.runs.lineage import shared_files, wandb_name
from siftune.runs.reporting.content import Cell, Part, Picture, Report, Table
from siftune.runs.reporting.headline import judged_by, with_headline
from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.rows import Section, sections
from siftune.runs.tables import MISSING
from siftune.runs.tracker.charts import bars, points, table
from siftune.runs.tracker.config import TrackingConfig, redact
from siftune.runs.tracking import Tracker

if TYPE_CHECKING:
    import wandb

JOB_TYPE = "report"
RUN_COLUMNS = ["method", "seed", "score", "FLOPs", "seconds"]
"""FLOPs and seconds are those of picking and training."""


def track_report(
    report: Report, runs: Sequence[RunRecord], files: Sequence[Path], config: TrackingConfig, store: Path
) -> str:
    """Log the report as one W&B run, and its `files` (in one folder) as an artifact made from the evaluations.

    Returns the W&B run's id. It is the fingerprint of the runs: the same report again goes on in the same W&B run."""
    name = fingerprint(version=1, config={JOB_TYPE: report.title}, inputs={run.fingerprint: "" for run in runs})
    groups = {run.group for run in runs if run.group is not None and not run.is_base}
    resolved = {
        "title": report.title,
        "subtitle": report.subtitle,
        "runs": [{"label": run.label, "seed": run.seed, "fingerprint": run.fingerprint} for run in runs],
    }
    group = groups.pop() if len(groups) == 1 else None
    with Tracker(config, name, report.title, group, resolved, store / "wandb", JOB_TYPE) as tracker:
        for values in (*map(_part, report.parts), *_charts(runs)):
            if values:
                tracker.show(values)
        _declare(tracker, name, runs, files, store)
    return name


def _part(part: Part) -> dict[str, Any]:
    found: dict[str, Any] = {f"{part.name}/{each.name}": _table(each) for each in part.tables}
    found |= {f"{part.name}/{picture.name}": _image(picture) for picture in part.pictures}
    if part.text:
        found[f"{part.name}/text"] = table([part.title], [[line] for line in redact(list(part.text))])
    return found


def _table(shown: Table) -> wandb.Table:
    """As it is read, and of numbers that are spelled with more than digits a column with the number alone."""
    columns: list[str] = []
    cells: list[list[Any]] = []
    for place, column in enumerate(shown.columns):
        own = [row[place] for row in shown.rows]
        header = f"{column.header} ({column.detail})" if column.detail else column.header
        if column.numeric and all(_is_plain(cell) for cell in own):
            columns.append(header)
            cells.append([cell.value for cell in own])
            continue
        columns.append(header)
        cells.append(redact([cell.text for cell in own]))
        if column.numeric and any(isinstance(cell.value, (int, float)) for cell in own):
            columns.append(f"{header}, number")
            cells.append([cell.value for cell in own])
    return table(columns, zip(*cells, strict=True))


def _is_plain(cell: Cell) -> bool:
    """Whether its text is its number, or nothing."""
    if cell.value is None:
        return cell.text in ("", MISSING)
    text = cell.text.replace(",", "")
    try:
        return isinstance(cell.value, (int, float)) and abs(float(text) - cell.value) <= 0.5 * _last_digit(text)
    except ValueError:
        return False


def _last_digit(text: str) -> float:
    """What the last digit of a number stands for: 0.01 of 3.14."""
    return float(10.0 ** -len(text.partition(".")[2]))


def _image(picture: Picture) -> wandb.Image:
    import wandb
    from PIL import Image

    drawn = io.BytesIO()
    picture.figure.savefig(drawn, format="png")
    return wandb.Image(Image.open(drawn), caption=redact(picture.caption))


def _charts(runs: Sequence[RunRecord]) -> Iterator[dict[str, Any]]:
    """Per section of comparable runs: the methods' scores, and every run's score against what it took."""
    for number, section in enumerate(map(with_headline, (part for part in sections(runs) if part.columns)), start=1):
        suffix = "" if number == 1 else f"-{number}"
        main = judged_by(section)
        if main is None:
            continue
        means = [(row.name, row.scores[main.name].mean) for row in section.rows if main.name in row.scores]
        rows = list(_run_rows(section, main.name))
        title = f"{main.name}: {section.title}"
        yield {
            f"charts/scores{suffix}": bars(title, "method", "score", redact(means)),
            f"charts/score-against-flops{suffix}": points(title, "FLOPs", "score", RUN_COLUMNS, rows),
            f"charts/score-against-seconds{suffix}": points(title, "seconds", "score", RUN_COLUMNS, rows),
        }


def _run_rows(section: Section, column: str) -> Iterator[list[Any]]:
    for row in section.rows:
        for run in row.runs:
            if column in row.scores and run.seed in row.scores[column].values:
                spent = [_picked_and_trained(run, what) for what in ("flops", "seconds")]
                yield [redact(row.name), run.seed, row.scores[column].values[run.seed], *spent]


def _picked_and_trained(run: RunRecord, what: str) -> float | None:
    values = [run.cost.get(phase, {}).get(what) for phase in ("selection", "training")]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _declare(tracker: Tracker, name: str, runs: Sequence[RunRecord], files: Sequence[Path], store: Path) -> None:
    """evaluation -> report."""
    inputs = []
    for own in dict.fromkeys(run.evaluation for run in runs if run.evaluation is not None):
        for folder in store.glob(f"evaluation/*-{own}"):
            record = read_record(folder)
            if record is not None:
                inputs.append(wandb_name(record))
                tracker.artifact("evaluation", inputs[-1], folder, shared_files(record, folder), [], {}, made=False)
    if files:
        folder = files[0].parent
        tracker.artifact(JOB_TYPE, f"report-{name}", folder, files, inputs, {"runs": len(runs)})
