from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from typing import Any

import pytest

from siftune.selection.pool.rows import Row
from siftune.selection.pool.source import PoolError
from siftune.selection.pool.store import Pool, PoolSummary

TURNS = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
Build = Callable[..., tuple[Pool, PoolSummary]]


def _row(build: Build, value: dict[str, Any], **options: Any) -> Row:
    return build([{"messages": TURNS} | value], **options)[0].row(0)


@pytest.mark.parametrize(
    ("value", "options", "source"),
    [
        ({"source": "gsm8k", "dataset": "x"}, {}, "gsm8k"),
        ({"dataset": "dolly"}, {}, "dolly"),
        ({"source": ["a/b"]}, {}, "a/b"),
        ({"source": ["a", "b"]}, {}, "a+b"),
        ({}, {}, "unknown"),
        ({"source": None}, {"source": "mine"}, "mine"),
        ({"source": "x", "domain": "maths"}, {"source_column": "domain"}, "maths"),
    ],
)
def test_where_the_source_comes_from(build: Build, value: dict[str, Any], options: dict[str, Any], source: str) -> None:
    assert _row(build, value, **options).source == source


def test_a_missing_source_column_is_an_error(build: Build) -> None:
    with pytest.raises(PoolError, match=r"list, line 1: the column domain \(pool.source_column\) names no source"):
        _row(build, {}, source_column="domain")


def test_other_columns_become_json_values_in_extra(build: Build) -> None:
    value = {
        "id": 7,
        "when": datetime.datetime(2026, 11, 22, 1, 2),
        "price": decimal.Decimal("1.50"),
        "loss": [float("nan"), float("inf"), 0.5],
        "nested": {"a": None},
        "source": "s",
        "tags": ["t"],
    }
    extra = {"id": 7, "when": "2026-11-22T01:02:00", "price": "1.50", "loss": [None, None, 0.5], "nested": {"a": None}}
    assert _row(build, value).extra == extra


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"image": b"\x89PNG"}, "image holds a value of type bytes"),
        ({"note": "\ud800"}, r"half of a surrogate pair \(0xd800\)"),
        ({"tags": ["\udfff"]}, r"half of a surrogate pair \(0xdfff\)"),
        ({"messages": [TURNS[0], {"role": "assistant", "content": "a\ud83d"}]}, r"half of a surrogate pair \(0xd83d\)"),
    ],
)
def test_what_no_file_can_hold_is_refused(build: Build, value: dict[str, Any], reason: str) -> None:
    with pytest.raises(PoolError, match=reason):
        _row(build, value)
