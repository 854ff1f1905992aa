"""Batches computed at the same time on a CPU, each by threads of its own.

Of a small model's operations many are too short to be shared among threads, which then wait for one another: one batch
after another kept two cores busy for three quarters of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from siftune.selection.kernels.workers import workers

MOST = 16
"""Batches at a time; beyond it Python, which one thread at a time can run, would be what they wait for."""

Batch = TypeVar("Batch")
Result = TypeVar("Result")


def side_by_side(
    compute: Callable[[Batch], Result], batches: Sequence[Batch], device: torch.device
) -> Iterator[Result]:
    """The results of `compute`, in the order of the batches; on a GPU, one after another.

    `compute` runs in several threads and must change nothing that it shares. An error in one batch ends the others.
    """
    if device.type != "cpu" or len(batches) < 2:
        yield from map(compute, batches)
        return
    with workers(MOST) as threads:
        try:
            yield from threads.map(compute, batches)
        finally:
            threads.shutdown(wait=True, cancel_futures=True)
