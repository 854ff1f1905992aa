"""The distribution of scores as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

HISTOGRAM_FILE = "histogram.png"
_ACROSS = 3
_BINS = 40
_LONG_TAIL = 20
"""Where the largest value is this many times the median, one row would squeeze all others into a bar."""


def draw_histograms(scores: Mapping[str, np.ndarray], path: Path) -> None:
    """One histogram a score of (n,) numbers, rows without a value counted in its title; long tails on a log axis."""
    from matplotlib.figure import Figure

    across = min(_ACROSS, len(scores))
    down = -(-len(scores) // across)
    figure = Figure(figsize=(4.2 * across, 3.2 * down), dpi=110, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel in panels[len(scores) :]:
        panel.set_axis_off()
    for panel, (name, values) in zip(panels, scores.items(), strict=False):
        there = np.asarray(values[~np.isnan(values)], dtype=np.float64)
        panel.hist(there, bins=_bins(there), color="#4878a8")
        if len(there) and _has_long_tail(there):
            panel.set_xscale("log")
        missing = len(values) - len(there)
        panel.set_title(f"{name}: {len(there):,} rows" + (f", {missing:,} without a value" if missing else ""), size=9)
        if len(there):
            panel.axvline(float(np.median(there)), color="#333333", linewidth=0.9, linestyle="--")
            panel.set_xlabel(f"median {np.median(there):.3g} (dashed), {there.min():.3g} to {there.max():.3g}", size=8)
        panel.set_ylabel("rows", size=8)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def _bins(values: np.ndarray) -> np.ndarray | int:
    if len(values) and _has_long_tail(values):
        return np.geomspace(values.min(), values.max(), _BINS + 1)
    return _BINS


def _has_long_tail(values: np.ndarray) -> bool:
    return bool(values.min() > 0 and values.max() > _LONG_TAIL * np.median(values))
