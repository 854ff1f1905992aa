"""Which rows each optimiser step sees: the same ones for every micro-batch size and every number of devices."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class GlobalBatchSampler(Sampler[int]):
    """Row indices of one epoch: global batches drawn by seed and epoch, the rows of each sorted by length.

    Sorting inside a global batch leaves its gradient as it is (a sum over its tokens) and takes most of the padding out
    of the micro-batches. The last global batch of an epoch may be smaller; with several processes it is filled up with
    blank rows, which no loss is computed on, so that each process has as many micro-batches as the others.
    """

    def __init__(self, lengths: np.ndarray, global_batch_size: int, multiple: int, seed: int) -> None:
        """`lengths`: (n,) tokens of each row; `multiple`: batches are filled up to it with the blank row, n."""
        self._lengths = lengths
        self._batch = global_batch_size
        self._multiple = multiple
        self._seed = seed
        self._epoch = 0

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch."""
        return -(-len(self._lengths) // self._batch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration goes through."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._lengths) // self._multiple) * self._multiple

    def __iter__(self) -> Iterator[int]:
        for batch in self.batches(self._epoch):
            yield from batch
            yield from [len(self._lengths)] * (-len(batch) % self._multiple)

    def batches(self, epoch: int) -> list[list[int]]:
        """The rows of each optimiser step of an epoch, longest first, blank rows left out."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._lengths))
        chunks = (order[start : start + self._batch] for start in range(0, len(order), self._batch))
        return [chunk[np.argsort(-self._lengths[chunk], kind="stable")].tolist() for chunk in chunks]

    def first_rows(self, steps: int) -> np.ndarray:
        """(m,) int64 rows that the first `steps` optimiser steps see, over as many epochs as it takes."""
        rows: list[int] = []
        for step in range(0, steps, self.steps_per_epoch):
            for batch in self.batches(step // self.steps_per_epoch)[: steps - step]:
                rows.extend(batch)
        return np.asarray(rows, dtype=np.int64)
