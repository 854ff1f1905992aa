"""Measures of eigenvalues: by hand, the figures of the package vendi-score 0.0.3, and the plain determinant."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siftune.selection.measures.spectrum import eigenvalues, log_det_distance, vendi_score
from siftune.selection.measures.undefined import UndefinedError


def _rows(count: int, dimension: int) -> np.ndarray:
    return np.sin(np.arange(count * dimension) ** 1.5).reshape(count, dimension).astype(np.float32)


def _vendi(points: np.ndarray) -> float:
    return vendi_score(eigenvalues(points), len(points))


def _log_det(points: np.ndarray, ridge: float = 1.0) -> float:
    return log_det_distance(eigenvalues(points), len(points), ridge=ridge)


def test_by_hand() -> None:
    assert _vendi(np.eye(5)) == pytest.approx(5)
    assert _vendi(np.repeat(np.eye(4), 3, axis=0)) == pytest.approx(4)
    assert _vendi(3 * np.ones((7, 2))) == pytest.approx(1)
    # Rows at 60 degrees: eigenvalues 1.5 and 0.5 of K.
    pair = np.array([[1.0, 0.0], [1.0, np.sqrt(3)]])
    assert _vendi(pair) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    assert _log_det(pair) == pytest.approx(np.log(2.5 * 1.5))
    assert _log_det(np.repeat(pair, 2, axis=0), ridge=0.1) == pytest.approx(np.log(3.1 * 1.1 * 0.1 * 0.1))


def test_figures_of_vendi_score() -> None:
    # Its score_dual(X) of these rows in float64, which takes the cosine similarities.
    assert _vendi(_rows(60, 8)) == pytest.approx(7.8550443740848905, rel=1e-5)
    assert _vendi(_rows(6, 40)) == pytest.approx(5.824792971343293, rel=1e-5)


def test_an_installed_vendi_score_agrees() -> None:
    vendi = pytest.importorskip("vendi_score.vendi", reason="compares with the package vendi-score")
    points = np.random.default_rng(0).standard_normal((50, 12)).astype(np.float32)
    assert _vendi(points) == pytest.approx(vendi.score_dual(points.astype(np.float64)), rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([0.01, 1.0, 10.0]), st.integers(0, 2**32 - 1))
def test_against_the_whole_matrix(size: int, dimension: int, ridge: float, seed: int) -> None:
    points = np.random.default_rng(seed).standard_normal((size, dimension)).astype(np.float32)
    points[np.random.default_rng(seed).random(size) < 0.1] = 0
    wide = points.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
    similarities = unit @ unit.T
    sign, expected = np.linalg.slogdet(similarities + ridge * np.eye(size))
    assert sign == 1
    assert _log_det(points, ridge) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    shares = np.linalg.eigvalsh(similarities) / size
    shares = shares[shares > 1e-12]
    if len(shares):
        assert _vendi(points) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-6)


def test_what_has_no_value() -> None:
    with pytest.raises(UndefinedError, match="zero vectors"):
        _vendi(np.zeros((4, 3)))
    assert _log_det(np.zeros((4, 3))) == 0
    with pytest.raises(ValueError, match="ridge=0 must be positive"):
        _log_det(np.eye(3), ridge=0)
