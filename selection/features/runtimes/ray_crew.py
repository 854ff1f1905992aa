"""The workers of a Ray cluster that compute the shards of one feature, and what becomes of shards whose worker dies."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from siftune.selection.features.runtimes.ray_cluster import Resources
from siftune.selection.features.runtimes.ray_worker import ShardWorker, environment_of
from siftune.selection.features.runtimes.runtime import Job, Task
from siftune.selection.features.shards import Block
from siftune.selection.pool.rows import Row

logger = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds without news after which it is said that no worker has started."""


@dataclass(frozen=True)
class _Attempt:
    task: Task
    losses: int = 0
    """Workers that died with it."""


@dataclass(eq=False)
class _Worker:
    actor: Any
    started: bool = False
    busy: int = 0
    """Shards that it has."""


@dataclass(frozen=True)
class _Call:
    worker: _Worker
    attempt: _Attempt | None
    """None: the worker is starting."""


class Crew:
    """Workers, each with a model of its own; one that dies is replaced, and its shards are given out again."""

    def __init__(self, ray: ModuleType, job: Job, resources: Resources, *, in_flight: int, retries: int) -> None:
        self._ray = ray
        self._resources = resources
        self._in_flight = in_flight
        self._retries = retries
        # In a list Ray hands over the reference, and not the job: taking that may import torch, before its settings.
        self._arguments = ([ray.put(job)], resources.cpus, environment_of(resources))
        self._workers: list[_Worker] = []
        self._calls: dict[Any, _Call] = {}
        self._waiting: deque[_Attempt] = deque()
        self._failed_starts = 0

    def blocks(self, tasks: Sequence[Task], size: int) -> Generator[tuple[int, Block], None, None]:
        """(shard, block) of every task by `size` workers, each as soon as it is there; the workers end with it."""
        self._waiting.extend(map(_Attempt, tasks))
        left = len(tasks)
        try:
            for _ in range(size):
                self._hire()
            while left:
                for call, block in self._arrived():
                    assert call.attempt is not None
                    left -= 1
                    yield call.attempt.task.shard, block
        finally:
            for worker in self._workers:
                self._ray.kill(worker.actor)

    def _arrived(self) -> list[tuple[_Call, Block]]:
        """The next block, or nothing where a worker has started or died."""
        done, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=PATIENCE)
        if not done:
            self._say_if_none_started()
            return []
        call = self._calls.pop(done[0])
        call.worker.busy -= call.attempt is not None
        try:
            block = self._ray.get(done[0])
        except self._ray.exceptions.RayTaskError as error:
            # What the job itself raises would be raised again by any worker.
            raise (error.cause if isinstance(error.cause, Exception) else error) from error
        except self._ray.exceptions.RayError as error:
            self._lost(call, error)
            self._give_out()
            return []
        call.worker.started = True
        self._give_out()
        return [] if call.attempt is None else [(call, block)]

    def _give_out(self) -> None:
        """Give waiting shards to workers, first to those that have the fewest."""
        for load in range(self._in_flight):
            for worker in self._workers:
                if self._waiting and worker.started and worker.busy <= load:
                    attempt = self._waiting.popleft()
                    worker.busy += 1
                    self._calls[worker.actor.compute.remote(attempt.task.rows())] = _Call(worker, attempt)

    def _hire(self) -> None:
        # Not restarted by Ray: another worker need not be on the same node.
        remote = self._ray.remote(ShardWorker).options(
            max_concurrency=self._in_flight, max_restarts=0, **self._resources.options()
        )
        worker = _Worker(remote.remote(*self._arguments))
        self._workers.append(worker)
        self._calls[worker.actor.ready.remote()] = _Call(worker, None)

    def _lost(self, call: _Call, error: Exception) -> None:
        if call.worker in self._workers:
            self._workers.remove(call.worker)
            self._ray.kill(call.worker.actor)
            self._hire()
        if call.attempt is None:
            self._failed_starts += 1
            if self._failed_starts > self._retries:
                raise ValueError(
                    f"workers of runtime=ray do not start: {error}\nsiftune and its packages must be installed on "
                    "every node of the cluster, in the same versions"
                ) from error
            return
        attempt = replace(call.attempt, losses=call.attempt.losses + 1)
        if attempt.losses > self._retries:
            raise ValueError(self._given_up(attempt, error)) from error
        logger.warning(
            "a Ray worker died with shard %d, which is given to another (%s)", attempt.task.shard, _first_line(error)
        )
        self._waiting.appendleft(attempt)

    def _given_up(self, attempt: _Attempt, error: Exception) -> str:
        rows: list[Row] = attempt.task.rows()
        return (
            f"shard {attempt.task.shard} (rows {rows[0].id} to {rows[-1].id}) has cost {attempt.losses} Ray workers "
            f"their lives: {_first_line(error)}\nA worker that the system ends as a rule has too little memory: lower "
            "tokens_per_batch of the encoder or scorer, or raise runtime.cpus_per_worker so that fewer share a node; "
            "runtime.retries is how often a shard is given out again"
        )

    def _say_if_none_started(self) -> None:
        if not any(worker.started for worker in self._workers):
            logger.warning(
                "no Ray worker has started yet: each takes %s, which others may be using (`ray status` shows)",
                self._resources,
            )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
