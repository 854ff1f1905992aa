"""What `siftune measure` found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from siftune.runs.fingerprint import plain
from siftune.selection.measures.catalogue import MEASURES
from siftune.selection.measures.settings import MeasureSettings


@dataclass(frozen=True)
class MeasuredSet:
    """A set of rows and its measures."""

    name: str
    rows: int
    values: Mapping[str, float]
    """Measure -> value, NaN where the set has none."""
    reasons: Mapping[str, str]
    """Measure -> why the set has none."""
    fingerprint: str
    """Of the artifact that keeps the values."""


@dataclass(frozen=True, kw_only=True)
class MeasureReport:
    """Sets of one pool's rows, measured alike."""

    pool: str
    pool_fingerprint: str
    pool_rows: int
    encoder: str | None
    """The encoder, or the file that the embeddings are from; None where texts alone were measured."""
    reference: str | None
    """The reference pool, or the file of its embeddings; None: the pool."""
    settings: MeasureSettings
    sets: tuple[MeasuredSet, ...]

    @property
    def title(self) -> str:
        """What was measured, in a line."""
        parts = [f"pool {self.pool} ({self.pool_rows:,} rows)"]
        parts += [] if self.encoder is None else [f"encoder {self.encoder}"]
        parts += [] if self.reference is None else [f"reference {self.reference}"]
        return " · ".join(parts)

    @property
    def names(self) -> tuple[str, ...]:
        """The measures, in their order."""
        return self.settings.chosen

    def best(self, name: str, decimals: int) -> set[str]:
        """The sets that are most diverse by a measure of those that have as many rows, ties after rounding included.

        Most measures follow the number of rows: a set that is alone in its size is not the best of anything, nor are
        sets that all tie."""
        sign = 1.0 if MEASURES[name].more_is_more_diverse else -1.0
        best: set[str] = set()
        for size in {item.rows for item in self.sets}:
            values = {
                item.name: round(sign * item.values[name], decimals)
                for item in self.sets
                if item.rows == size and not math.isnan(item.values[name])
            }
            tied = {key for key, value in values.items() if value == max(values.values())}
            best |= tied if len(tied) < len(values) else set()
        return best

    def to_json(self) -> dict[str, Any]:
        """The report as JSON; a value that a set does not have is null."""
        return {
            "pool": self.pool,
            "pool_fingerprint": self.pool_fingerprint,
            "pool_rows": self.pool_rows,
            "encoder": self.encoder,
            "reference": self.reference,
            "settings": plain(self.settings),
            "measures": {name: asdict(MEASURES[name]) for name in self.names},
            "sets": [
                {"name": item.name, "rows": item.rows, "fingerprint": item.fingerprint}
                | {"values": {name: _finite(item.values[name]) for name in self.names}, "reasons": dict(item.reasons)}
                for item in self.sets
            ],
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
