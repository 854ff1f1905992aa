"""What runs in the processes of a Ray cluster. Nothing here loads torch before the process is set up."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from siftune.finetune.process import prepare_process
from siftune.selection.features.runtimes.mapped_rows import MappedRows
from siftune.selection.features.runtimes.ray_cluster import Resources
from siftune.selection.features.runtimes.runtime import Job, OpenJob
from siftune.selection.features.shards import Block
from siftune.selection.pool.rows import Row

FORWARDED = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TOKENIZERS_PARALLELISM", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""Variables of the process that starts the workers which theirs get too."""


def set_up(threads: int, environment: Mapping[str, str]) -> None:
    """Make this process one like that which started it: as many threads, because with their number float32 results
    change in their last bits, and the same settings."""
    os.environ.update({**environment, "OMP_NUM_THREADS": str(threads)})
    prepare_process()

    import torch

    torch.set_num_threads(threads)


def environment_of(resources: Resources) -> dict[str, str]:
    """What `set_up` is given."""
    forwarded = {name: os.environ[name] for name in FORWARDED if name in os.environ}
    # Ray hides the GPUs that a worker has not got from those that have some; from those without any, it does not.
    hidden = {} if resources.gpus else {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
    return forwarded | hidden


class ShardWorker:
    """An actor that has one model and computes shards with it.

    Ray calls `compute` in several threads: while one shard is computed the next is prepared.
    """

    def __init__(self, job: Sequence[Any], threads: int, environment: Mapping[str, str]) -> None:
        import ray

        set_up(threads, environment)
        self._job: Job = ray.get(job[0])
        self._opened: OpenJob | None = None
        self._preparing, self._computing = threading.Lock(), threading.Lock()

    def ready(self) -> None:
        """Returns once the process is there."""

    def compute(self, rows: Sequence[Row]) -> Block:
        """The block of a shard's rows."""
        # One at a time each, as with runtime=local: tokenizers are not made for several threads.
        with self._preparing:
            opened = self._open()
            prepared = opened.prepare(rows)
        with self._computing:
            return opened.compute(rows, prepared, lambda rows: None)

    def _open(self) -> OpenJob:
        if self._opened is None:
            try:
                self._opened = self._job.open()
            except (OSError, ValueError) as error:
                raise ValueError(f"{error}\n{_where()}") from error
        return self._opened


def work_on_rows(
    work: Callable[[Sequence[np.ndarray], int], Any],
    arrays: Sequence[np.ndarray | MappedRows],
    first: int,
    threads: int,
    environment: Mapping[str, str],
) -> Any:
    """A kernel's work on some rows, which are read here where their file can be reached."""
    set_up(threads, environment)
    return work([array.open() if isinstance(array, MappedRows) else array for array in arrays], first)


def _where() -> str:
    import ray

    return (
        f"This is on node {ray.util.get_node_ip_address()} of the Ray cluster. Every node needs the model, in the "
        "store or the folder that it is loaded from, at the same path (a shared file system), or on the hub; and the "
        "Python packages that are installed here"
    )
