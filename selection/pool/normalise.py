"""A raw record to a row: its conversation, source, tags and scores; everything else goes to `extra`."""

from __future__ import annotations

import datetime
import decimal
import json
import math
from typing import Any

from siftune.selection.pool.annotations import read_annotations
from siftune.selection.pool.formats import RawRow, RowError, read_conversation
from siftune.selection.pool.rows import Row, row_id
from siftune.selection.pool.source import PoolSource


def normalise(value: Any, options: PoolSource) -> Row:
    """The row of a raw record; RowError with the reason where it is none."""
    messages, used = read_conversation(value, options.format)
    annotations = read_annotations(value, options.turn_reduction)
    used |= annotations.used
    source = _source(value, options, used)
    extra = {key: _json_value(item, key) for key, item in value.items() if key not in used}
    if annotations.rest:
        extra["annotation"] = _json_value(annotations.rest, "annotation")
    messages = [_json_value(message, "messages") for message in messages]
    try:
        json.dumps([source, annotations.tags, extra], ensure_ascii=False).encode("utf-8")
        identity = row_id(messages)
    except UnicodeEncodeError as error:
        half = hex(ord(error.object[error.start]))
        raise RowError(f"a string holds half of a surrogate pair ({half}), which is no character") from error
    return Row(
        id=identity, source=source, messages=messages, tags=annotations.tags, scores=annotations.scores, extra=extra
    )


def _source(value: RawRow, options: PoolSource, used: set[str]) -> str:
    if options.source_column is not None:
        label = _label(value.get(options.source_column))
        if label is None:
            raise RowError(f"the column {options.source_column} (pool.source_column) names no source")
        used.add(options.source_column)
        return label
    for key in ("source", "dataset"):
        label = _label(value.get(key))
        if label is not None:
            used.add(key)
            return label
    return options.source


def _label(found: Any) -> str | None:
    """A name, or a list of names as MIG's pools have it."""
    names = found if isinstance(found, list) else [found]
    return "+".join(names) if names and all(isinstance(name, str) and name for name in names) else None


def _json_value(value: Any, key: str) -> Any:
    """The value as JSON has it: dates as ISO text, NaN and infinities as null; RowError for bytes and the like."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _json_value(item, key) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item, key) for item in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, datetime.timedelta)):
        return str(value)
    raise RowError(f"{key} holds a value of type {type(value).__name__}, which JSON cannot hold: remove that column")
