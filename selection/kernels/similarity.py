"""Scores of pool rows by cosine similarity to directions: a fast value for screening and an exact one for deciding.

A row may be seen in several views, arrays of the same n rows: its embeddings, or its gradients at several checkpoints.
Its score along a direction is the sum over the views of cosine(row in the view, part of the direction for the view)
times the length of that part, plus an offset.

The exact score is summed in float64 column by column. It depends on the two vectors alone: not on the block, the other
rows, the thread count or the BLAS.

The screening score comes from float32 matrix products, whose rounding depends on all of these. It lies within the
tolerance of the exact one. With u = 2^-24, d the dimension of a view, x a row and w a direction's part: rounding w (and
x, given in float64) to float32 costs u|w| each; a float32 dot product of length d, summed in any order, with or without
fused multiply-add, errs by at most d u/(1 - d u) |x||w| (Higham, Accuracy and Stability, 3.5, with Cauchy-Schwarz); the
norm's relative error is at most (d/2 + 1) u/(1 - d u), and the division, the offset, the sum over C views and the mean
over g groups add at most g + C + 4 more u, all relative to the sum of |w| over the views + |offset|. Together they stay
strictly below u (2 d + 16 + g + C) times that sum, for every d up to 100,000.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from siftune.selection.kernels.exact import Scorer, addressable, places_of
from siftune.selection.kernels.products import ROUNDOFF, Products
from siftune.selection.kernels.progress import report
from siftune.selection.kernels.validation import name_rows

BLOCK_ROWS = 1024
"""Pool rows screened at once, at most, so that their scores stay in the cache; the picks do not depend on it."""
COMPARING = "comparing rows with the target"
"""What a pass over the pool is called where its progress is shown."""
_VALUES_AT_ONCE = 2**20
# Inside these bounds no float32 square that matters under- or overflows.
_SAFE_NORM = (1e-10, 1e15)


@dataclass(frozen=True)
class Directions:
    """One group of directions; a row's score in the group is the largest of its scores by the directions."""

    vectors: np.ndarray
    """(m, C d) float64: the parts for the C views side by side, of any length."""
    offsets: np.ndarray
    """(m,) float64."""


def directions(vectors: np.ndarray, offset: float = 0.0) -> Directions:
    """A group of the (m, C d) `vectors` with one offset; repeated vectors count once."""
    distinct = list({vector.tobytes(): row for row, vector in enumerate(vectors)}.values())
    return Directions(vectors[distinct], np.full(len(distinct), offset))


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """(m, d) float64 rows of length 1, from rows that are finite and not zero."""
    scaled = vectors / np.abs(vectors).max(axis=1, keepdims=True)
    return scaled / np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Block:
    """What the matrix products say of b pool rows from `first` on; the arrays are used again for the next block."""

    first: int
    products: np.ndarray
    """(C, D, b) float32, view by view; rows are not of length 1 yet."""
    inverse: np.ndarray
    """(C, b) float32: one over the rows' lengths, 0 for a zero row."""


class Rankings:
    """M rankings of the n pool rows, each by one group of directions, or one ranking by the mean over all groups.

    A pool row that is the zero vector in a view has cosine 0 there. Views are (n, d) float16, float32 or float64, all
    of one type, with rows of any length; they may be memory-mapped, as they are read block by block.
    """

    def __init__(
        self,
        views: Sequence[np.ndarray],
        groups: Sequence[Directions],
        *,
        average: bool = False,
        what: str = "rows",
        first: int = 0,
    ) -> None:
        """`what` the views are, and the number of their `first` row: for the message on NaN or infinite values."""
        self.views = addressable(views)
        self._groups, self._average = list(groups), average
        self._what, self._first = what, first
        self.size, self._dimension = views[0].shape
        self.count = 1 if average else len(groups)
        self.block_rows = min(self.size, BLOCK_ROWS, max(1, _VALUES_AT_ONCE // self._dimension))
        """Rows of a block, at most."""
        vectors = np.concatenate([group.vectors for group in groups])
        offsets = np.concatenate([group.offsets for group in groups])
        bounds = np.cumsum([0, *(len(group.offsets) for group in groups)])
        parts = self._dimension * np.arange(len(views))
        sizes = np.sqrt(np.add.reduceat(vectors * vectors, parts, axis=1)).sum(axis=1) + np.abs(offsets)
        largest = np.maximum.reduceat(sizes, bounds[:-1])
        tolerance = ROUNDOFF * (2 * self._dimension + 16 + len(groups) + len(views)) * largest
        rows, kind, dimension, halves = places_of(self.views)
        self.scorer = Scorer(
            rows=rows,
            kind=kind,
            dimension=dimension,
            halves=halves,
            vectors=vectors,
            offsets=offsets,
            bounds=bounds,
            groups=np.array([0, len(groups)]) if average else np.arange(len(groups) + 1),
            tolerance=tolerance.max(keepdims=True) if average else tolerance,
        )

    def recipe(self) -> Recipe:
        """The same rankings of other rows."""
        return partial(Rankings, groups=self._groups, average=self._average, what=self._what)

    def blocks(self) -> Iterator[Block]:
        """One pass over the pool. A row with NaN or infinite values is a ValueError that names it."""
        views, dimension, count = len(self.views), self._dimension, len(self.scorer.offsets)
        rows = self.block_rows
        parts = np.split(self.scorer.vectors.astype(np.float32), views, axis=1)
        multiply = [Products(np.ascontiguousarray(part)) for part in parts]
        room, scores = np.empty((rows, dimension), dtype=np.float32), np.empty(views * count * rows, dtype=np.float32)
        inverses = np.empty(views * rows, dtype=np.float32)
        for first in range(0, self.size, rows):
            last = min(first + rows, self.size)
            products = scores[: views * count * (last - first)].reshape(views, count, last - first)
            inverse = inverses[: views * (last - first)].reshape(views, last - first)
            for number, view in enumerate(self.views):
                block = self._read(view[first:last], first, room, inverse[number])
                multiply[number](block, out=products[number].T)
            yield Block(first, products, inverse)
            report(COMPARING, last, self.size)

    def _read(self, raw: np.ndarray, first: int, room: np.ndarray, inverse: np.ndarray) -> np.ndarray:
        """(b, d) float32 rows, writeable and contiguous as torch wants them; `inverse` gets one over their lengths."""
        block = _single(raw, room)
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        odd = np.flatnonzero(~((norms > _SAFE_NORM[0]) & (norms < _SAFE_NORM[1])))
        if odd.size:
            block = block.copy()
            block[odd], norms[odd] = _rescaled(raw[odd], self._first + first + odd, self._what)
        inverse[:] = 0
        np.divide(1, norms, out=inverse, where=norms > 0)
        return block


Recipe = Callable[..., Rankings]
"""Called with the views of some rows and `first`, the number of the first of them."""


def _single(raw: np.ndarray, room: np.ndarray) -> np.ndarray:
    if raw.dtype == np.float32 and raw.flags.c_contiguous and raw.flags.writeable:
        return np.asarray(raw)
    block = room[: len(raw)]
    if raw.dtype == np.float16:
        # Torch does this conversion thirty times faster than numpy.
        torch.from_numpy(block).copy_(torch.from_numpy(np.array(raw)))
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            np.copyto(block, raw, casting="same_kind")
    return block


def _rescaled(raw: np.ndarray, rows: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Very long and very short rows as unit rows with norm 1, zero rows with norm 0; ValueError for non-finite ones."""
    vectors = raw.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt((vectors * vectors).sum(axis=1))
    if not np.isfinite(norms).all():
        bad = rows[~np.isfinite(norms)]
        raise ValueError(
            f"{what} have NaN or infinite values in rows {name_rows(bad)}: compute them again or leave them out"
        )
    return vectors / np.where(norms > 0, norms, 1.0)[:, None], norms > 0
