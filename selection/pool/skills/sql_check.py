"""Running a query on its table's sample rows, and working the same out without SQL."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from statistics import fmean
from typing import Any

from siftune.selection.pool.skills.schemas import TABLES, sample_rows
from siftune.selection.pool.skills.skill import Facts

Result = list[tuple[Any, ...]]
HALF_CENT = 0.005 + 1e-9
"""How far a figure that is rounded to two decimals may be from the exact one."""


def run(statement: str, facts: Facts) -> Result:
    """What `statement` returns on the table's sample rows; where it changes them, the rows as they are after it."""
    table = TABLES[facts["table"]]
    rows = [tuple(row[column] for column in table.columns) for row in sample_rows(table, facts)]
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"CREATE TABLE {table.name} ({', '.join(table.columns)})")
        database.executemany(f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(table.columns))})", rows)
        result = database.execute(statement).fetchall()
        return result if statement.startswith("SELECT") else database.execute(f"SELECT * FROM {table.name}").fetchall()


def expected(name: str, facts: Facts) -> Result:
    """The same, worked out on the rows without SQL."""
    table, column, number = TABLES[facts["table"]], facts.get("column", ""), facts.get("number", "")
    rows = sample_rows(table, facts)
    matching = [row for row in rows if row.get(column) == facts.get("value")]
    if name == "count":
        return [(len(matching),)]
    if name == "average":
        return [(fmean(row[number] for row in matching) if matching else None,)]
    if name == "group":
        return sorted((item, n) for item, n in Counter(row[column] for row in rows).items() if n > facts["least"])
    if name == "top":
        ranked = sorted(rows, key=lambda row: -row[number])[: facts["count"]]
        return [(row[table.label], row[number]) for row in ranked]
    if name in ("list", "above"):
        kept = matching if name == "list" else [row for row in rows if row[number] > facts["limit"]]
        return [(label,) for label in sorted(row[table.label] for row in kept)]
    if name == "update":
        rows = [row | {column: facts["value"]} if row["id"] == facts["key"] else row for row in rows]
    else:
        rows = [row for row in rows if row not in matching]
    return [tuple(row.values()) for row in rows]


def agree(result: Result, wanted: Result) -> bool:
    """Whether both hold the same rows in the same order, figures up to the rounding to two decimals."""
    return len(result) == len(wanted) and all(
        a == b or (isinstance(b, float) and isinstance(a, float) and abs(a - b) <= HALF_CENT)
        for row, other in zip(result, wanted, strict=True)
        for a, b in zip(row, other, strict=True)
    )
