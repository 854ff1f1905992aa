"""A picked subset on disk: subset.jsonl, one row a line in the order picked, and a README.md card that describes it.

`datasets.load_dataset(folder)` opens it, with other files beside or not: the card's front matter names the one data
file and declares every column. For that each column has one type. A value inside a message other than text (tool
calls), and an extra column whose values are of several types or nested, is written as JSON text; `read_subset` turns
it back.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from siftune.selection.interface import Selection
from siftune.selection.pool.rows import Row
from siftune.selection.pool.subset_card import SubsetCard, card_text

SUBSET_FILE = "subset.jsonl"
CARD_FILE = "README.md"
_OWN_COLUMNS = ("id", "rank", "gain", "pool_row", "source", "messages", "tags", "scores")
_COLUMNS_KEY = "siftune_columns: "


class SubsetPool(Protocol):
    """What `write_subset` needs of a pool (`siftune.selection.pool.store.Pool`)."""

    @property
    def sources(self) -> np.ndarray: ...

    def rows(self, indices: Iterable[int]) -> Iterator[Row]: ...


class Pick(NamedTuple):
    """One row of a subset."""

    row: Row
    rank: int
    """0 for the row picked first."""
    gain: float
    """NaN where the method defines none."""
    pool_row: int
    """The row's position in the pool."""


def write_subset(folder: Path, pool: SubsetPool, selection: Selection, card: SubsetCard) -> None:
    """Write subset.jsonl and README.md into `folder` (made if need be); the pool's rows are read twice, as a stream."""
    indices = selection.indices.tolist()
    columns = _Columns.of(pool.rows(indices))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / SUBSET_FILE).open("w", encoding="utf-8") as file:
        picks = zip(pool.rows(indices), range(len(indices)), selection.gains.tolist(), indices, strict=True)
        for pick in picks:
            record = columns.record(Pick(*pick))
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    mixture = _mixture(pool.sources, selection.indices)
    (folder / CARD_FILE).write_text(card_text(card, columns.front_matter(), mixture), encoding="utf-8")


def read_indices(folder: Path) -> np.ndarray:
    """(k,) int64 pool rows of a written subset in the order picked."""
    with (folder / SUBSET_FILE).open(encoding="utf-8") as file:
        return np.array([json.loads(line)["pool_row"] for line in file], dtype=np.int64)


def front_matter(folder: Path, data_file: str = SUBSET_FILE) -> list[str]:
    """Lines of YAML for a card of a written subset whose rows are (also) in `data_file`: its type of every column."""
    return _read_columns(folder / CARD_FILE).front_matter(data_file)


def json_columns(folder: Path) -> list[str]:
    """The columns of a written subset, and the keys of its messages, whose values are JSON text."""
    columns = _read_columns(folder / CARD_FILE)
    inside = [f"messages[].{key}" for key, kind in columns.message.items() if kind == "json"]
    return inside + [_named(key) for key, kind in columns.extra.items() if kind == "json"]


def read_subset(folder: Path) -> Iterator[Pick]:
    """The rows of a written subset in the order picked; a value that was null and one that was absent are the same."""
    columns = _read_columns(folder / CARD_FILE)
    with (folder / SUBSET_FILE).open(encoding="utf-8") as file:
        for line in file:
            yield columns.pick(json.loads(line))


@dataclass
class _Columns:
    """The columns of a subset: what its rows have, and as what it is written."""

    scores: list[str] = field(default_factory=list)
    message: dict[str, str] = field(default_factory=dict)
    """key of a message -> "string" or "json"."""
    extra: dict[str, str] = field(default_factory=dict)
    """extra column -> "string", "bool", "int64", "float64" or "json"."""

    @classmethod
    def of(cls, rows: Iterable[Row]) -> _Columns:
        scores: set[str] = set()
        message: dict[str, set[str]] = {"role": {"string"}, "content": {"string"}}
        extra: dict[str, set[str]] = {}
        for row in rows:
            scores.update(row.scores)
            _note(row.extra, extra)
            for turn in row.messages:
                _note(turn, message)
        texts = {key: "string" if kinds == {"string"} else "json" for key, kinds in message.items()}
        return cls(sorted(scores), texts, {key: _column_type(kinds) for key, kinds in extra.items()})

    def record(self, pick: Pick) -> dict[str, Any]:
        row = pick.row
        record: dict[str, Any] = {
            "id": row.id,
            "rank": pick.rank,
            "gain": pick.gain if np.isfinite(pick.gain) else None,
            "pool_row": pick.pool_row,
            "source": row.source,
            "messages": [self._turn(turn) for turn in row.messages],
            "tags": list(row.tags),
        }
        if self.scores:
            record["scores"] = {name: row.scores.get(name) for name in self.scores}
        return record | {_named(key): _written(row.extra.get(key), kind) for key, kind in self.extra.items()}

    def _turn(self, turn: Mapping[str, Any]) -> dict[str, Any]:
        return {key: _written(turn.get(key), kind) for key, kind in self.message.items()}

    def pick(self, record: Mapping[str, Any]) -> Pick:
        turns = [{key: _read(turn[key], kind) for key, kind in self.message.items()} for turn in record["messages"]]
        row = Row(
            id=record["id"],
            source=record["source"],
            messages=[_known(turn) for turn in turns],
            tags=tuple(record["tags"]),
            scores=_known(record.get("scores", {})),
            extra=_known({key: _read(record[_named(key)], kind) for key, kind in self.extra.items()}),
        )
        gain = float("nan") if record["gain"] is None else record["gain"]
        return Pick(row, record["rank"], gain, record["pool_row"])

    def front_matter(self, data_file: str = SUBSET_FILE) -> list[str]:
        """Lines of YAML: the one data file, the type of every column (JSON is YAML), and how to read them back."""
        features: list[dict[str, Any]] = [
            {"name": "id", "dtype": "string"},
            {"name": "rank", "dtype": "int64"},
            {"name": "gain", "dtype": "float64"},
            {"name": "pool_row", "dtype": "int64"},
            {"name": "source", "dtype": "string"},
            {"name": "messages", "list": [{"name": key, "dtype": "string"} for key in self.message]},
            {"name": "tags", "list": "string"},
        ]
        if self.scores:
            features.append({"name": "scores", "struct": [{"name": n, "dtype": "float64"} for n in self.scores]})
        for key, kind in self.extra.items():
            features.append({"name": _named(key), "dtype": "string" if kind == "json" else kind})
        lines = ["configs:", "- config_name: default", f"  data_files: {data_file}"]
        lines += ["dataset_info:", "  config_name: default", "  features:"]
        lines += [f"  - {json.dumps(feature, ensure_ascii=False)}" for feature in features]
        return [*lines, _COLUMNS_KEY + json.dumps(self.as_json(), ensure_ascii=False)]

    def as_json(self) -> dict[str, Any]:
        return {"scores": self.scores, "message": self.message, "extra": self.extra}


def _read_columns(card: Path) -> _Columns:
    for line in card.read_text(encoding="utf-8").splitlines():
        if line.startswith(_COLUMNS_KEY):
            return _Columns(**json.loads(line.removeprefix(_COLUMNS_KEY)))
    raise ValueError(
        f"{card} has no line {_COLUMNS_KEY.strip()!r}: the folder was not written by siftune, or was edited"
    )


def _note(values: Mapping[str, Any], kinds: dict[str, set[str]]) -> None:
    for key, value in values.items():
        if value is not None:
            kinds.setdefault(key, set()).add(_kind(value))


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64" if -(2**63) <= value < 2**63 else "json"
    if isinstance(value, float):
        return "float64" if np.isfinite(value) else "json"
    return "string" if isinstance(value, str) else "json"


def _column_type(kinds: set[str]) -> str:
    if kinds == {"int64", "float64"}:
        return "float64"
    return next(iter(kinds)) if len(kinds) == 1 else "json"


def _written(value: Any, kind: str) -> Any:
    return json.dumps(value, ensure_ascii=False) if kind == "json" and value is not None else value


def _read(value: Any, kind: str) -> Any:
    return json.loads(value) if kind == "json" and value is not None else value


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _named(column: str) -> str:
    """The name of an extra column in the file: one that siftune writes itself gets a prefix."""
    return f"extra_{column}" if column in _OWN_COLUMNS else column


def _mixture(sources: np.ndarray, picked: Sequence[int] | np.ndarray) -> dict[str, tuple[int, int]]:
    """source -> (rows of the pool, rows picked), the pool's largest source first."""
    before, after = Counter(sources.tolist()), Counter(sources[picked].tolist())
    largest_first = sorted(before.items(), key=lambda item: (-item[1], item[0]))
    return {source: (count, after[source]) for source, count in largest_first}
