"""A pool source made of Python values, and a pool built from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from siftune.selection.pool.source import PoolSource, Record
from siftune.selection.pool.store import Pool, PoolSummary, Progress, build_pool


@dataclass(frozen=True, kw_only=True)
class ListPool(PoolSource):
    """Values as they stand, one record each."""

    values: Iterable[Any]

    def inputs(self) -> dict[str, str]:
        return {}

    def records(self) -> Iterator[Record]:
        return (Record(value, "list", number) for number, value in enumerate(self.values, start=1))


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., tuple[Pool, PoolSummary]]:
    """build(values, progress=None, **options) -> the pool and its summary; what it wrote is in tmp_path / "pool"."""

    def _build(values: Iterable[Any], progress: Progress | None = None, **options: Any) -> tuple[Pool, PoolSummary]:
        summary = build_pool(ListPool(name="test", values=values, **options), tmp_path / "pool", progress)
        return Pool.open(tmp_path / "pool"), summary

    return _build
