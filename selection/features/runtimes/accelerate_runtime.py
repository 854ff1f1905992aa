"""runtime=accelerate: the processes of a distributed launch, a GPU each, share out the shards of a feature."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.runtimes.runtime import Job, LocalRuntime, Task
from siftune.selection.features.shards import Block


@dataclass(frozen=True, kw_only=True)
class AccelerateRuntime:
    """Process r of W computes the shards r, r + W, ... on its GPU and writes them; the artifacts are those of
    runtime=local. Started by `accelerate launch` or `torchrun`, one process a GPU; several machines need a store that
    they share."""

    collective: ClassVar[bool] = True

    def check(self) -> None:
        """ValueError where there is only this process."""
        if _processes() == 1:
            raise ValueError(
                "runtime=accelerate shares the rows among the processes of a launch, and this process is alone. Type\n"
                "  accelerate launch --multi_gpu --num_processes GPUS -m siftune.runs.main run runtime=accelerate ...\n"
                "or torchrun --nproc_per_node GPUS -m siftune.runs.main run runtime=accelerate ..., or leave "
                "runtime=accelerate out"
            )

    def spread(self) -> AbstractContextManager[None]:
        """Kernels work in the first process."""
        return nullcontext()

    def blocks(self, job: Job, tasks: Sequence[Task], progress: Progress) -> Generator[tuple[int, Block], None, None]:
        """Those of this process, in the order of the tasks."""
        self.check()
        # By the shard's number: what the processes find missing may differ while they write.
        own = [task for task in tasks if task.shard % _processes() == _rank()]
        return LocalRuntime().blocks(job, own, progress)


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))
