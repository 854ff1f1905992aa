"""Kernels' work on ranges of rows, done by the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np

from siftune.selection.features.runtimes.mapped_rows import UnreachableError, mapped_rows
from siftune.selection.features.runtimes.ray_cluster import Resources
from siftune.selection.features.runtimes.ray_worker import environment_of, work_on_rows
from siftune.selection.kernels.spread import Work

RANGES_PER_WORKER = 4
"""So that a worker that is slow, or dies, holds up little."""
IN_FLIGHT = 2
"""Ranges that a worker has at a time: one is worked on while the next is sent."""


@dataclass(frozen=True)
class RaySpreader:
    """Gives ranges of rows to workers, as a part of a file where they can reach it, else as numbers."""

    ray: ModuleType
    resources: Resources
    workers: int
    retries: int

    def __call__(self, work: Work, arrays: Sequence[np.ndarray]) -> Iterator[tuple[range, Any]]:
        """(rows, result) of every range, each as soon as it is there."""
        sent = self.ray.put(work)
        waiting = _ranges(len(arrays[0]), RANGES_PER_WORKER * self.workers)
        calls: dict[Any, range] = {}
        reachable = True
        while waiting or calls:
            while waiting and len(calls) < IN_FLIGHT * self.workers:
                rows = waiting.pop()
                calls[self._start(sent, arrays, rows, reachable)] = rows
            (done,), _ = self.ray.wait(list(calls), num_returns=1)
            rows = calls.pop(done)
            try:
                result = self.ray.get(done)
            except self.ray.exceptions.RayTaskError as error:
                if not isinstance(error.cause, UnreachableError):
                    raise (error.cause if isinstance(error.cause, Exception) else error) from error
                # The rows themselves never raise this, so that it ends here.
                reachable = False
                waiting.append(rows)
            else:
                yield rows, result

    def _start(self, work: Any, arrays: Sequence[np.ndarray], rows: range, reachable: bool) -> Any:
        parts = [(mapped_rows(array, rows) if reachable else None) for array in arrays]
        sent = [
            array[rows.start : rows.stop] if part is None else part for array, part in zip(arrays, parts, strict=True)
        ]
        remote = self.ray.remote(work_on_rows).options(max_retries=self.retries, **self.resources.options())
        return remote.remote(work, sent, rows.start, self.resources.cpus, environment_of(self.resources))


def _ranges(size: int, parts: int) -> list[range]:
    """About equal ranges that partition `size` rows."""
    bounds = np.linspace(0, size, min(parts, size) + 1).astype(int).tolist()
    return [range(first, last) for first, last in pairwise(bounds)]
