"""W&B's own charts of a run: they are drawn there, from the tables that come with them, and can be changed there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import wandb
    from wandb.plot import CustomChart

LENGTH_BINS = 40


def table(columns: Sequence[str | int], rows: Iterable[Sequence[Any]]) -> wandb.Table:
    """A table; a column may hold numbers and missing ones."""
    import wandb

    return wandb.Table(columns=list(columns), data=[list(row) for row in rows], allow_mixed_types=True)


def bars(title: str, label: str, value: str, rows: Iterable[tuple[str, float]]) -> CustomChart:
    """A bar a row."""
    import wandb

    return wandb.plot.bar(table([label, value], rows), label, value, title=title)


def points(title: str, x: str, y: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> CustomChart:
    """A point a row, at its columns `x` and `y`."""
    import wandb

    return wandb.plot.scatter(table(columns, rows), x, y, title=title)


def mixtures(pool: Mapping[str, int], subset: Mapping[str, int]) -> dict[str, CustomChart]:
    """The sources of the pool and of the subset, in percent; both have the same sources in the same order."""
    names = sorted({*pool, *subset}, key=lambda name: (-pool.get(name, 0), name))
    return {
        f"sources_of_{what}": bars(
            f"Sources of the {what}", "source", "percent", [(name, _percent(counts, name)) for name in names]
        )
        for what, counts in (("pool", pool), ("subset", subset))
        if counts
    }


def _percent(counts: Mapping[str, int], name: str) -> float:
    return 100.0 * counts.get(name, 0) / sum(counts.values())


def length_lines(pool: np.ndarray, subset: np.ndarray) -> CustomChart:
    """Histograms of the rows' lengths as lines over each other: percent of the rows by log10 of the characters."""
    import wandb

    edges = length_edges(pool)
    shares = [100.0 * np.histogram(_logs(part), edges)[0] / max(1, len(part)) for part in (pool, subset)]
    return wandb.plot.line_series(
        xs=((edges[:-1] + edges[1:]) / 2).round(4).tolist(),
        ys=[share.round(4).tolist() for share in shares],
        keys=["pool", "subset"],
        title="Length of the rows, in percent of them",
        xname="log10 of the characters",
    )


def length_edges(lengths: np.ndarray) -> np.ndarray:
    """Bounds of the bins, equal in the logarithm, over all lengths of a pool."""
    logs = _logs(lengths)
    low, high = float(logs.min()), float(logs.max())
    return np.linspace(low, high if high > low else low + 1.0, LENGTH_BINS + 1)


def _logs(lengths: np.ndarray) -> np.ndarray:
    return np.log10(np.maximum(np.asarray(lengths, dtype=np.float64), 1.0))
