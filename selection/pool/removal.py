"""A pool without some of its rows, and the report of what was removed and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siftune.selection.files import write_whole
from siftune.selection.pool.rows import Message
from siftune.selection.pool.rows_file import copy_rows
from siftune.selection.pool.source import PoolError
from siftune.selection.pool.store import ROWS_FILE, Pool

REMOVED_FILE = "removed.jsonl"
REPORT_FILE = "README.md"
EXCERPT = 300
"""Characters of the texts that the report quotes."""
_EXAMPLES = 10


@dataclass(frozen=True)
class Removal:
    """Why a row goes."""

    row: int
    """Its place in the pool."""
    why: str
    of: str
    """What it repeats: the id of a row that stays, or of a test document."""
    of_source: str
    """Where that comes from."""
    of_text: str
    """The start of it."""
    overlap: float


def remove_rows(
    before: Path, folder: Path, removals: Sequence[Removal], title: str, notes: Sequence[str]
) -> dict[str, Any]:
    """Write the pool of `before` without some rows into `folder`, with removed.jsonl and README.md; the summary.

    `removals`: one a row, in the pool's order. `title` and `notes` (Markdown paragraphs) head the report.
    """
    pool = Pool.open(before)
    gone = np.array([removal.row for removal in removals], np.int64)
    if len(gone) == len(pool):
        raise PoolError(f"no row is left: {title[0].lower()}{title[1:]} removed all {len(pool):,} rows of the pool")
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{ROWS_FILE}.partial"
    copy_rows(before / ROWS_FILE, partial, np.setdiff1d(np.arange(len(pool)), gone))
    partial.replace(folder / ROWS_FILE)
    records = [_record(pool, removal) for removal in removals]
    write_whole(folder / REMOVED_FILE, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    rows, removed = Counter(pool.sources.tolist()), Counter(pool.sources[gone].tolist())
    write_whole(folder / REPORT_FILE, _report(title, notes, rows, removed, records))
    return {
        "rows": len(pool) - len(gone),
        "removed": len(gone),
        "sources": {name: count - removed[name] for name, count in rows.most_common() if count > removed[name]},
        "removed_by_source": dict(removed.most_common()),
    }


def excerpt(messages: Sequence[Message]) -> str:
    """The start of a conversation."""
    return "\n".join(message["content"] for message in messages if message["content"])[:EXCERPT]


def _record(pool: Pool, removal: Removal) -> dict[str, Any]:
    row = pool.row(removal.row)
    why = {key: value for key, value in asdict(removal).items() if key != "row"}
    return {"id": row.id, "source": row.source, **why, "text": excerpt(row.messages)}


def _report(
    title: str,
    notes: Sequence[str],
    rows: Mapping[str, int],
    removed: Mapping[str, int],
    records: Sequence[Mapping[str, Any]],
) -> str:
    total, gone = sum(rows.values()), len(records)
    lines = [
        f"# {title}: {gone:,} of {total:,} rows removed",
        *(line for note in notes for line in ("", note)),
        "",
        f"Each removed row with its reason is a line of {REMOVED_FILE}.",
        "",
        "| source | rows | removed | share |",
        "|---|---:|---:|---:|",
    ]
    largest_first = sorted(rows.items(), key=lambda item: (-removed.get(item[0], 0), -item[1], item[0]))
    lines += [
        f"| {cell(name)} | {count:,} | {removed.get(name, 0):,} | {removed.get(name, 0) / count:.1%} |"
        for name, count in largest_first
    ]
    if records:
        lines += ["", "## Examples", "", "| removed | what it repeats | why |", "|---|---|---|"]
        # Spread over all, as neighbours are often alike.
        chosen = np.unique(np.linspace(0, gone - 1, min(_EXAMPLES, gone)).round().astype(int)).tolist()
        lines += [
            f"| {cell(record['text'])} | {cell(record['of_text'])} | {cell(record['why'])} |"
            for record in (records[place] for place in chosen)
        ]
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """A text inside a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())
