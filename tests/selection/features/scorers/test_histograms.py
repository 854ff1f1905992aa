"""Histograms of scores: that they can be drawn of whatever scores there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from siftune.selection.features.scorers.histograms import draw_histograms

NORMAL = np.random.default_rng(0).standard_normal(500)


@pytest.mark.parametrize(
    "values",
    [NORMAL, np.exp(3 * NORMAL), np.where(NORMAL > 0, NORMAL, np.nan), np.full(7, np.nan), np.ones(5), np.zeros(1)],
    ids=["numbers", "long tail", "some missing", "all missing", "constant", "one row"],
)
def test_any_score_has_a_picture(values: np.ndarray, tmp_path: Path) -> None:
    draw_histograms({"first": values, "second": NORMAL}, tmp_path / "histogram.png")
    assert (tmp_path / "histogram.png").read_bytes().startswith(b"\x89PNG")


def test_long_tail_changes_the_picture(tmp_path: Path) -> None:
    tail = np.exp(3 * NORMAL)
    draw_histograms({"score": tail}, tmp_path / "tail.png")
    draw_histograms({"score": -tail}, tmp_path / "negative.png")
    assert (tmp_path / "tail.png").read_bytes() != (tmp_path / "negative.png").read_bytes()
