"""What annotators left on a row: tags and scores, under the names that MIG's pools, DEITA and siftune itself use.

| key of the row | becomes |
|---|---|
| annotation.instag: [tag, ...] or {content: [tag, ...]}; tags: [tag, ...] | tags |
| annotation.deita: {quality_scores, complexity_scores}, each a number or one a turn | quality, complexity, deita |
| quality, complexity: likewise | quality, complexity, deita |
| ifd_score: number or {content: number} | ifd |
| scores: {name: number} | scores of those names, which win over the others |

`annotation` may be an object or flattened ("annotation.deita.quality_scores"). quality and complexity of a row are the
means over its turns; deita is the mean (MIG) or the sum (DEITA) over the turns of quality x complexity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from siftune.selection.pool.formats import RawRow, RowError
from siftune.selection.pool.source import TurnReduction
from siftune.selection.pool.turns import deita, over_turns


@dataclass
class Annotations:
    """Tags and scores of a row, the keys they were read from, and what remains of `annotation`."""

    tags: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    rest: dict[str, Any] = field(default_factory=dict)


def read_annotations(value: RawRow, turn_reduction: TurnReduction) -> Annotations:
    """Tags and scores of a raw row; RowError where an annotation is there and makes no sense."""
    result = Annotations()
    annotation = _unflatten(value, result.used)
    tags = _instag(annotation.pop("instag", None))
    quality, complexity = _deita(annotation.pop("deita", None) or {})
    quality = quality or _column(value, "quality", result.used)
    complexity = complexity or _column(value, "complexity", result.used)
    result.scores |= _reduce(quality, complexity, turn_reduction)
    result.scores |= _ifd(value, result.used) | _named_scores(value, result.used)
    if _is_list_of(value.get("tags"), str):
        result.used.add("tags")
        tags = tags + value["tags"]
    result.tags = tuple(dict.fromkeys(tags))
    result.rest = annotation
    return result


def _unflatten(value: RawRow, used: set[str]) -> dict[str, Any]:
    """The `annotation` object of the row, whether nested or spread over keys such as "annotation.instag"."""
    whole = value.get("annotation")
    nested: dict[str, Any] = dict(whole) if isinstance(whole, dict) else {}
    if isinstance(whole, dict):
        used.add("annotation")
    for key in value:
        if key.startswith("annotation.") and value[key] is not None:
            used.add(key)
            *path, last = key.split(".")[1:]
            inner = nested
            for name in path:
                inner = inner.setdefault(name, {})
            inner[last] = value[key]
    return nested


def _instag(found: Any) -> list[str]:
    tags = found.get("content") if isinstance(found, dict) else found
    if tags is None:
        return []
    if not _is_list_of(tags, str):
        raise RowError("annotation.instag is not a list of strings")
    return list(tags)


def _deita(found: Any) -> tuple[list[float], list[float]]:
    if not isinstance(found, Mapping):
        raise RowError("annotation.deita is not an object with quality_scores and complexity_scores")
    pair = []
    for name in ("quality", "complexity"):
        given = found.get(f"{name}_scores", found.get(name))
        turns = _turn_scores(given)
        if turns is None:
            raise RowError(f"annotation.deita: the {name} is neither a number nor a list of numbers")
        pair.append(turns)
    return pair[0], pair[1]


def _turn_scores(given: Any) -> list[float] | None:
    """One number a turn, a single number as one turn; None where it is neither."""
    if given is None:
        return []
    if _is_number(given):
        return [float(given)]
    return [float(item) for item in given] if isinstance(given, list) and all(map(_is_number, given)) else None


def _column(value: RawRow, name: str, used: set[str]) -> list[float]:
    """A column of that name, if it holds numbers: other data sets call other things quality."""
    turns = _turn_scores(value.get(name))
    if not turns:
        return []
    used.add(name)
    return turns


def _reduce(quality: list[float], complexity: list[float], turn_reduction: TurnReduction) -> dict[str, float]:
    scores = {}
    if quality:
        scores["quality"] = over_turns(quality, "mean")
    if complexity:
        scores["complexity"] = over_turns(complexity, "mean")
    if quality and complexity:
        if len(quality) != len(complexity):
            raise RowError(
                f"{len(quality)} quality scores and {len(complexity)} complexity scores: one each a turn is needed"
            )
        scores["deita"] = deita(quality, complexity, turn_reduction)
    return _known(scores)


def _ifd(value: RawRow, used: set[str]) -> dict[str, float]:
    found = value.get("ifd_score")
    number = found.get("content") if isinstance(found, dict) else found
    if not _is_number(number):
        return {}
    used.add("ifd_score")
    return _known({"ifd": number})


def _named_scores(value: RawRow, used: set[str]) -> dict[str, float]:
    found = value.get("scores")
    if not isinstance(found, dict) or not all(item is None or _is_number(item) for item in found.values()):
        return {}
    used.add("scores")
    return _known(found)


def _known(scores: Mapping[str, Any]) -> dict[str, float]:
    """Without the scores that are null or NaN: a row has no such score."""
    return {name: float(item) for name, item in scores.items() if item is not None and not math.isnan(item)}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)
