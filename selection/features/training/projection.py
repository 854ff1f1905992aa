"""Random projections of long vectors to few dimensions that keep inner products, piece by piece (LESS).

No projection matrix is ever held: each entry is a hash of the seed and of its place, the same on every machine. A
vector is given in pieces, each with its offset, and their projections add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from siftune.selection.features.training.gradients import ProjectionKind
from siftune.selection.kernels.compiled import compiled

_CHUNK = 2048
"""Columns of the sparse projection whose places are worked out at a time, for all rows."""
_BLOCK = 1 << 21
"""Signs of the dense projection that exist at a time."""


@dataclass(frozen=True)
class Projection:
    """From any number of dimensions to `dimension`; unbiased: the expected inner product is that of the vectors.

    rademacher: a matrix of +-1/sqrt(p), the paper's. sparse: one +-1 in each column, in a row drawn at random (Kane and
    Nelson 2014, arXiv 1012.1577). Both have the same variance, (|x|^2 |y|^2 + (x.y)^2 - 2 sum_i x_i^2 y_i^2) / p; the
    sparse one takes one addition for an entry, the dense one p.
    """

    dimension: int
    kind: ProjectionKind = "sparse"
    seed: int = 0

    def add(self, total: torch.Tensor, piece: torch.Tensor, offset: int) -> None:
        """total += projection of the entries from `offset` on: `total` (n, p), `piece` (n, d), both float32."""
        if self.kind == "rademacher":
            self._add_dense(total, piece, offset)
        elif piece.device.type == "cpu":
            _scatter(total.numpy(), piece.numpy(), self.seed, offset)
        else:
            places, signs = np.empty(piece.shape[1], dtype=np.int64), np.empty(piece.shape[1], dtype=np.float32)
            _columns(places, signs, self.seed, offset, self.dimension)
            signed = piece * torch.from_numpy(signs).to(piece.device)
            total.index_add_(1, torch.from_numpy(places).to(piece.device), signed)

    def _add_dense(self, total: torch.Tensor, piece: torch.Tensor, offset: int) -> None:
        width = max(1, _BLOCK // self.dimension)
        scale = self.dimension**-0.5
        for start in range(0, piece.shape[1], width):
            part = piece[:, start : start + width]
            signs = np.empty((part.shape[1], self.dimension), dtype=np.float32)
            _signs(signs, self.seed, offset + start)
            total.addmm_(part, torch.from_numpy(signs).to(piece.device), alpha=scale)


@compiled()
def _hash(seed: int, counter: int) -> int:
    """64 random bits of a seed and a counter (splitmix64's finaliser, twice)."""
    bits = np.uint64(counter) + np.uint64(0x9E3779B97F4A7C15)
    for _ in range(2):
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits = (bits ^ (bits >> np.uint64(31))) + np.uint64(seed) * np.uint64(0xD6E8FEB86659FD93)
    return bits ^ (bits >> np.uint64(32))


@compiled()
def _columns(places: np.ndarray, signs: np.ndarray, seed: int, offset: int, dimension: int) -> None:
    """Row and sign of the one entry of each column from `offset` on."""
    for column in range(places.shape[0]):
        bits = _hash(seed, offset + column)
        # 63 bits modulo p: the first rows are likelier by p / 2^63.
        places[column] = np.int64((bits >> np.uint64(1)) % np.uint64(dimension))
        signs[column] = 1.0 - 2.0 * np.float32(bits & np.uint64(1))


@compiled()
def _scatter(total: np.ndarray, piece: np.ndarray, seed: int, offset: int) -> None:
    """total (n, p) += the sparse projection of piece (n, d), each row's terms in order."""
    places, signs = np.empty(_CHUNK, dtype=np.int64), np.empty(_CHUNK, dtype=np.float32)
    for start in range(0, piece.shape[1], _CHUNK):
        count = min(_CHUNK, piece.shape[1] - start)
        _columns(places[:count], signs[:count], seed, offset + start, total.shape[1])
        for row in range(piece.shape[0]):
            for column in range(count):
                total[row, places[column]] += signs[column] * piece[row, start + column]


@compiled()
def _signs(signs: np.ndarray, seed: int, offset: int) -> None:
    """(d, p) of +-1: the dense projection's rows for the entries from `offset` on."""
    dimension = signs.shape[1]
    words = (dimension + 63) // 64
    for row in range(signs.shape[0]):
        for word in range(words):
            bits = _hash(seed, (offset + row) * words + word)
            for column in range(64 * word, min(64 * word + 64, dimension)):
                signs[row, column] = 1.0 - 2.0 * np.float32((bits >> np.uint64(column - 64 * word)) & np.uint64(1))
