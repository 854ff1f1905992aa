"""How long stages like a planned one took on this machine, from the records of the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from siftune.runs import provenance
from siftune.runs.artifacts import Stage, read_record
from siftune.runs.fingerprint import plain

SEEDS = ("seed",)
"""Entries of a stage's config that do not change how long it takes."""
REACH = 8
"""A record tells of stages up to so many times its size: a small one's seconds are the loading of its model."""
SAME_ROWS = ("subset", "evaluation")
"""Stages whose time is taken over as it is, where the rows (the tasks) are the same."""


def recorded_seconds(stage: Stage, tokens: int | None, store: Path) -> float | None:
    """Seconds of the stage by what earlier ones of its kind, config and model took; None where nothing compares.

    With records of different sizes a line through them (loading, and seconds a token), else the seconds a token.
    """
    records = list(_alike(stage, store))
    if stage.kind in SAME_ROWS:
        same = [record["seconds"] for record in records if _rows_of(record) == stage.inputs.get("pool")]
        return float(np.median(same)) if same else None
    sizes = [(record["summary"].get("tokens") or 0, record["seconds"]) for record in records]
    known = np.array([pair for pair in sizes if pair[0] > 0], dtype=np.float64).reshape(-1, 2)
    if not tokens or len(known) == 0 or known[:, 0].max() * REACH < tokens:
        return None
    return _through(known, tokens)


def _alike(stage: Stage, store: Path) -> Iterator[dict[str, Any]]:
    """Records of the same computation on other rows, on hardware like this."""
    config, hardware = _timeless(plain(stage.config)), provenance.hardware()
    for folder in sorted((store / stage.kind).glob("*")):
        record = read_record(folder)
        if record is None or record["hardware"] != hardware or record["version"] != stage.version:
            continue
        if _timeless(record["config"]) == config and record["inputs"].get("model") == stage.inputs.get("model"):
            yield record


def _timeless(config: Any) -> Any:
    if not isinstance(config, dict):
        return config
    return {key: value for key, value in config.items() if key not in SEEDS}


def _rows_of(record: dict[str, Any]) -> str | None:
    pool: str | None = record["inputs"].get("pool")
    return pool


def _through(known: np.ndarray, tokens: int) -> float:
    sizes, seconds = known.T
    if sizes.max() >= 2 * sizes.min():
        slope, start = np.polyfit(sizes, seconds, 1)
        if slope > 0 and start >= 0:
            return float(start + slope * tokens)
    return float(tokens * seconds.sum() / sizes.sum())
