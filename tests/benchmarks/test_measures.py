"""Measures of diversity: the Vendi score beside its n x n form, all of them beside a large reference, and their memory.

    pytest tests/benchmarks/test_measures.py -m benchmark -s

NovelSum's own benchmark is test_novelsum.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from siftune.selection.diversity import MEASURES, MeasureSettings, Reference
from siftune.selection.measures.spectrum import eigenvalues, vendi_score

pytestmark = pytest.mark.benchmark
ROWS, REFERENCE_ROWS, DIMENSION = 10_000, 400_000, 384
OF_EMBEDDINGS = tuple(name for name, measure in MEASURES.items() if measure.reads != "texts")


def _plain_vendi(points: np.ndarray) -> float:
    """From the n x n similarities, in float64."""
    unit = points.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / len(unit))
    values = values[values > 0]
    return float(np.exp(-(values * np.log(values)).sum()))


def _vendi(points: np.ndarray) -> float:
    return vendi_score(eigenvalues(points), len(points))


def test_vendi_score(bench: Any) -> None:
    """Through the d x d Gram matrix where d < n; the plain form at 10,000 rows takes minutes and 2 GB."""
    points = bench.vectors(2000, DIMENSION, clusters=40)
    _vendi(points)
    ours, plain = bench.measure(lambda: _vendi(points), repeats=3), bench.measure(lambda: _plain_vendi(points))
    assert ours.result == pytest.approx(plain.result, rel=1e-5)
    bench.row("Vendi score", f"2k x {DIMENSION}", ours, plain=plain)
    points = bench.vectors(ROWS, DIMENSION, clusters=100)
    ours = bench.measure(lambda: _vendi(points), repeats=3)
    bench.row("Vendi score", f"10k x {DIMENSION}", ours, goal="d x d", n=ROWS)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, bench: Any) -> np.ndarray:
    """(400,000, 384) float32, memory-mapped, some rows of it copies."""
    path = tmp_path_factory.mktemp("reference") / "embeddings.npy"
    written = np.lib.format.open_memmap(path, "w+", np.float32, (REFERENCE_ROWS, DIMENSION))
    for seed, first in enumerate(range(0, REFERENCE_ROWS, 50_000)):
        written[first : first + 50_000] = bench.vectors(50_000, DIMENSION, seed=seed, clusters=200)
    written[-1000:] = written[:1000]
    written.flush()
    return np.load(path, mmap_mode="r")


@pytest.fixture(scope="module")
def subset(reference: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """10,000 rows of it, memory-mapped."""
    path: Path = tmp_path_factory.mktemp("subset") / "embeddings.npy"
    np.save(path, reference[np.sort(np.random.default_rng(0).choice(REFERENCE_ROWS, ROWS, replace=False))])
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize("memory_gb", [0.5, 1.0])
def test_memory_beside_a_large_reference(
    memory_gb: float, reference: np.ndarray, subset: np.ndarray, bench: Any
) -> None:
    """All ten measures of embeddings, 10k x 384 against 400k x 384; the inputs are mapped files."""
    Reference(reference[:3000], MeasureSettings(names=OF_EMBEDDINGS)).measure(subset[:500])
    settings = MeasureSettings(names=OF_EMBEDDINGS, memory_gb=memory_gb)
    measured = bench.measure(lambda: Reference(reference, settings).measure(subset))
    goal = f"<= {1000 * memory_gb:.0f} MB"
    bench.row("all measures", f"10k beside 400k x 384, {memory_gb} GB", measured, goal=goal)
    assert measured.megabytes <= 1000 * memory_gb


@pytest.mark.parametrize("name", OF_EMBEDDINGS)
def test_each_beside_a_large_reference(name: str, reference: np.ndarray, subset: np.ndarray, bench: Any) -> None:
    """One measure, 10k x 384 against 400k x 384, within 1 GB."""
    settings = MeasureSettings(names=(name,))
    measured = bench.measure(lambda: Reference(reference, settings).measure(subset))
    bench.row(MEASURES[name].label, "10k beside 400k x 384", measured, goal="<= 1000 MB")
    assert measured.megabytes <= 1000
