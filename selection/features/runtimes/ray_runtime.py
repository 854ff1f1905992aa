"""runtime=ray: the workers of a Ray cluster compute features and compare rows; this process reads and writes."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.runtimes.ray_cluster import Resources, connect, places, require_ray
from siftune.selection.features.runtimes.runtime import Job, Task
from siftune.selection.features.shards import Block
from siftune.selection.kernels.spread import Work, spreading


@dataclass(frozen=True, kw_only=True)
class RayRuntime:
    """Workers on a Ray cluster, each with one model. The artifacts are those of runtime=local, byte for byte, where
    the workers have the same kind of processor and as many threads.

    Rows are sent to the workers and results are sent back, so that the pool need not be on a file system that they
    share; the model must be at the same path on every node, or on the hub. A worker that dies costs the shards it had,
    which are given to another.
    """

    collective: ClassVar[bool] = False

    address: str | None = None
    """null: start Ray on this machine for the time of the run; auto: the cluster that this machine is a node of; or
    HOST:PORT of one."""
    num_workers: int | None = None
    """At most; null: as many as fit on the cluster."""
    cpus_per_worker: int | None = None
    """CPUs, and threads, of a worker; null: the threads that this process would use (OMP_NUM_THREADS; float32 results
    depend on their number in the last bits)."""
    gpus_per_worker: float = 0
    """GPUs of a worker; a fraction shares one."""
    shards_in_flight: int = 2
    """Shards that a worker has at a time: one is computed while the next is sent and tokenised."""
    retries: int = 3
    """How often a shard whose worker died is given to another."""

    def __post_init__(self) -> None:
        for name, least in (
            ("num_workers", 1),
            ("cpus_per_worker", 1),
            ("gpus_per_worker", 0),
            ("shards_in_flight", 1),
            ("retries", 0),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"runtime.{name}={value} must be at least {least}")

    def check(self) -> None:
        """ValueError where Ray is not installed."""
        require_ray()

    def blocks(self, job: Job, tasks: Sequence[Task], progress: Progress) -> Generator[tuple[int, Block], None, None]:
        """Each block as soon as a worker has computed it."""
        if not tasks:
            return
        from siftune.selection.features.runtimes.ray_crew import Crew

        ray, resources, fitting = self._cluster()
        crew = Crew(ray, job, resources, in_flight=self.shards_in_flight, retries=self.retries)
        with closing(crew.blocks(tasks, min(fitting, len(tasks)))) as blocks:
            for shard, block in blocks:
                progress(len(next(iter(block.arrays.values()))))
                yield shard, block

    @contextmanager
    def spread(self) -> Iterator[None]:
        """Inside, kernels compare rows on the workers."""
        with spreading(self._over_rows):
            yield

    def _over_rows(self, work: Work, arrays: Sequence[np.ndarray]) -> Iterable[tuple[range, Any]]:
        from siftune.selection.features.runtimes.ray_spread import RaySpreader

        ray, resources, fitting = self._cluster()
        return RaySpreader(ray, resources, fitting, self.retries)(work, arrays)

    def _cluster(self) -> tuple[ModuleType, Resources, int]:
        """Ray, what a worker takes, and how many there are to be."""
        import torch

        resources = Resources(self.cpus_per_worker or torch.get_num_threads(), self.gpus_per_worker)
        ray = connect(self.address)
        fitting = places(ray, resources)
        return ray, resources, fitting if self.num_workers is None else min(self.num_workers, fitting)
