"""Random projections: they keep inner products as well as theory says, and depend on the seed and the place alone."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import numpy as np
import pytest
import torch

from siftune.selection.features.training.gradients import ProjectionKind
from siftune.selection.features.training.projection import Projection, _hash

KINDS = get_args(ProjectionKind)
HASH = 2343890482848423720


def projected(rows: torch.Tensor, projection: Projection, cuts: tuple[int, ...] = ()) -> torch.Tensor:
    total = torch.zeros(len(rows), projection.dimension)
    edges = [0, *cuts, rows.shape[1]]
    for start, stop in itertools.pairwise(edges):
        projection.add(total, rows[:, start:stop].contiguous(), start)
    return total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", ["spread", "spiky"])
def test_inner_products_are_kept_within_the_variance(kind: ProjectionKind, shape: str) -> None:
    """Over 400 seeds the error's mean is 0 and its variance the formula's, for spread and for spiky vectors."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 3000, generator=generator)
    y = 0.5 * x + y
    if shape == "spiky":
        x, y = x * (torch.arange(3000) % 500 == 0), y * (torch.arange(3000) % 250 == 0)
    true, p = float(x @ y), 64
    variance = float((x @ x) * (y @ y) + true**2 - 2 * (x**2 * y**2).sum()) / p
    pair = torch.stack([x, y])
    sketches = (projected(pair, Projection(p, kind, seed)) for seed in range(400))
    found = np.array([float(sketch[0] @ sketch[1]) for sketch in sketches])
    errors = (found - true) / math.sqrt(variance)
    # 400 draws: the mean is within 4 / sqrt(400); the variance of heavy-tailed errors within a factor of 2.
    assert abs(errors.mean()) < 0.2
    assert 0.5 < errors.var() < 2


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_rows_and_threads_do_not_matter(kind: ProjectionKind) -> None:
    rows = torch.randn(5, 5000, generator=torch.Generator().manual_seed(1))
    whole = projected(rows, Projection(128, kind))
    cut = projected(rows, Projection(128, kind), (1, 130, 2049, 4096))
    torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-4)
    alone = torch.cat([projected(row[None], Projection(128, kind)) for row in rows])
    torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_give_other_projections(kind: ProjectionKind) -> None:
    row = torch.ones(1, 200)
    first, second = (projected(row, Projection(32, kind, seed)) for seed in (0, 1))
    assert not torch.equal(first, second)


def spelt_out(seed: int, counter: int) -> int:
    """The hash in Python's integers."""
    mask = 2**64 - 1
    bits = (counter + 0x9E3779B97F4A7C15) & mask
    for _ in range(2):
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & mask
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & mask
        bits = ((bits ^ (bits >> 31)) + seed * 0xD6E8FEB86659FD93) & mask
    return bits ^ (bits >> 32)


def test_entries_are_those_of_every_machine() -> None:
    """What lies in stores must not change with a release or a compiler."""
    assert int(_hash(7, 123456789)) == spelt_out(7, 123456789) == HASH
    columns, unit = range(90), torch.eye(90)
    sparse = projected(unit, Projection(16, seed=5))
    bits = [spelt_out(5, column) for column in columns]
    assert [int(row.abs().argmax()) for row in sparse] == [(word >> 1) % 16 for word in bits]
    assert sparse.sum(1).tolist() == [1.0 - 2 * (word & 1) for word in bits]
    dense = (projected(unit, Projection(70, "rademacher", seed=5)) * math.sqrt(70)).round().int()
    words = [spelt_out(5, 2 * row) | spelt_out(5, 2 * row + 1) << 64 for row in columns]
    assert dense.tolist() == [[1 - 2 * (word >> column & 1) for column in range(70)] for word in words]


def test_each_sparse_column_has_one_sign_and_rows_are_hit_evenly() -> None:
    matrix = projected(torch.eye(6400), Projection(64))
    assert (matrix != 0).sum(1).tolist() == [1] * 6400
    assert set(matrix[matrix != 0].tolist()) == {-1.0, 1.0}
    counts = (matrix != 0).sum(0).double()
    # Chi-squared with 63 degrees of freedom: 63 +- 4 sqrt(126).
    assert abs(float(((counts - 100) ** 2 / 100).sum()) - 63) < 4 * math.sqrt(126)


def test_dense_signs_are_balanced_and_not_correlated() -> None:
    matrix = projected(torch.eye(2048), Projection(130, "rademacher")) * math.sqrt(130)
    assert set(matrix.round().int().flatten().tolist()) == {-1, 1}
    products = matrix.T @ matrix / math.sqrt(2048)
    off = products[~torch.eye(130, dtype=torch.bool)]
    assert float(off.abs().max()) < 5.5
    assert float(off.std()) == pytest.approx(1, abs=0.05)
    assert abs(float(matrix.sum())) < 4 * math.sqrt(matrix.numel())


def test_the_path_of_other_devices_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(3, 5000, generator=torch.Generator().manual_seed(2))
    expected = projected(rows, Projection(50))

    class Elsewhere(torch.Tensor):
        """A tensor that says it is not on the CPU."""

        @property
        def device(self) -> torch.device:  # type: ignore[override]
            return torch.device("cuda")

        def to(self, *args: object, **kwargs: object) -> torch.Tensor:  # type: ignore[override]
            return self

    found = torch.zeros(3, 50)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *args, **kwargs: self)
    Projection(50).add(found, rows.as_subclass(Elsewhere), 0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
