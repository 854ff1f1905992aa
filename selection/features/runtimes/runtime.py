"""Who computes the shards of a feature: this process, or workers of a runtime."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.shards import Block
from siftune.selection.pool.rows import Row


class OpenJob(Protocol):
    """A job whose model is loaded."""

    def prepare(self, rows: Sequence[Row]) -> Any:
        """What can be done without the model, such as tokenising: called in a second thread while the rows before are
        computed."""
        ...

    def compute(self, rows: Sequence[Row], prepared: Any, progress: Progress) -> Block:
        """The rows' block; `progress` is told now and then how many more rows are done."""
        ...


class Job(Protocol):
    """What is to be computed of rows: configs and references to models, no models, so that it can be sent."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the arrays that a block has."""
        ...

    def open(self) -> OpenJob:
        """Load the model."""
        ...


def prepare_with(model: Any, rows: Sequence[Row]) -> Any:
    """What an open encoder or scorer prepares of the rows, where it has a `prepare`."""
    prepare = getattr(model, "prepare", None)
    return None if prepare is None else prepare(rows)


@dataclass(frozen=True)
class Task:
    """A shard to be computed."""

    shard: int
    rows: Callable[[], list[Row]]
    """Reads its rows."""


@runtime_checkable
class Runtime(Protocol):
    """A runtime's config: a frozen dataclass that a conf/runtime/*.yaml names."""

    collective: ClassVar[bool]
    """Whether the processes of a distributed launch compute a feature together: then each of them calls `map_rows`, and
    gets the blocks of some tasks; of the others it waits for the shards."""

    def check(self) -> None:
        """ValueError, with its remedy, where it cannot be used as things are."""
        ...

    def spread(self) -> AbstractContextManager[None]:
        """Inside, kernels that go over all rows do so on the workers."""
        ...

    def blocks(self, job: Job, tasks: Sequence[Task], progress: Progress) -> Generator[tuple[int, Block], None, None]:
        """(shard, block) of every task, in any order, each as soon as it is computed."""
        ...


@dataclass(frozen=True, kw_only=True)
class LocalRuntime:
    """This process computes one shard after another."""

    collective: ClassVar[bool] = False

    def check(self) -> None:
        """Nothing can be missing."""

    def spread(self) -> AbstractContextManager[None]:
        """Kernels work in this process."""
        return nullcontext()

    def blocks(self, job: Job, tasks: Sequence[Task], progress: Progress) -> Generator[tuple[int, Block], None, None]:
        """In the order of the tasks; the next one's rows are read and prepared while one is computed."""
        if not tasks:
            return
        opened = job.open()

        def prepare(task: Task) -> tuple[list[Row], Any]:
            rows = task.rows()
            return rows, opened.prepare(rows)

        with ThreadPoolExecutor(1, thread_name_prefix="prepare") as thread:
            following = thread.submit(prepare, tasks[0])
            for number, task in enumerate(tasks):
                rows, prepared = following.result()
                if number + 1 < len(tasks):
                    following = thread.submit(prepare, tasks[number + 1])
                yield task.shard, opened.compute(rows, prepared, progress)
