"""What becomes of shards whose Ray worker dies, with a Ray that is played by a few lines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from siftune.selection.features.runtimes.ray_cluster import Resources, places
from siftune.selection.features.runtimes.ray_crew import Crew
from siftune.selection.features.runtimes.ray_runtime import RayRuntime
from siftune.selection.features.runtimes.runtime import Task
from siftune.selection.features.shards import Block
from siftune.selection.pool.rows import Row


class RayError(Exception):
    """A worker that is gone."""


class RayTaskError(RayError):
    """What the work itself raised."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("a long remote traceback")
        self.cause = cause


class FakeRay:
    """Answers calls in the order they were made; `fail` says what a call of a worker ends in."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, fail: Callable[[int, int | None], Exception | None] = lambda worker, shard: None) -> None:
        self.fail = fail
        self.hired = 0
        self.alive: set[int] = set()
        self.log: list[tuple[int, int]] = []

    def put(self, value: Any) -> Any:
        return value

    def remote(self, cls: type) -> Any:
        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=self._hire))

    def wait(self, calls: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        return calls[:1], calls[1:]

    def get(self, call: Any) -> Any:
        worker, shard = call.worker, call.shard
        error = self.fail(worker, shard) if worker in self.alive else RayError("the actor died\nand more")
        if isinstance(error, RayError) and not isinstance(error, RayTaskError):
            self.alive.discard(worker)
        if error is not None:
            raise error
        return None if shard is None else Block({"x": np.full(2, shard)}, {"worker": worker})

    def kill(self, actor: Any) -> None:
        self.alive.discard(actor.number)

    def _hire(self, job: Any, threads: int, environment: Any) -> Any:
        self.hired += 1
        number = self.hired
        self.alive.add(number)

        def compute(rows: Sequence[Row]) -> Any:
            self.log.append((number, int(rows[0].id)))
            return _Call(number, int(rows[0].id))

        ready = SimpleNamespace(remote=lambda: _Call(number, None))
        return SimpleNamespace(number=number, ready=ready, compute=SimpleNamespace(remote=compute))


class _Call:
    def __init__(self, worker: int, shard: int | None) -> None:
        self.worker, self.shard = worker, shard


def rows_of(shard: int) -> list[Row]:
    return [Row(id=str(shard), source="made", messages=[]), Row(id=f"{shard}-last", source="made", messages=[])]


def run(ray: FakeRay, shards: int = 6, size: int = 2, retries: int = 2) -> dict[int, Block]:
    tasks = [Task(shard, lambda shard=shard: rows_of(shard)) for shard in range(shards)]  # type: ignore[misc]
    crew = Crew(ray, None, Resources(1, 0), in_flight=2, retries=retries)  # type: ignore[arg-type]
    found = dict(crew.blocks(tasks, size))
    assert len(found) == shards
    assert all((block.arrays["x"] == shard).all() for shard, block in found.items())
    return found


def test_every_shard_is_computed_once_by_the_workers_in_turn() -> None:
    ray = FakeRay()
    found = run(ray)
    assert sorted(shard for _, shard in ray.log) == list(range(6))
    assert {block.note["worker"] for block in found.values()} == {1, 2}
    assert ray.hired == 2
    assert not ray.alive


def test_a_dead_worker_is_replaced_and_its_shards_are_given_out_again(caplog: pytest.LogCaptureFixture) -> None:
    ray = FakeRay(lambda worker, shard: RayError("killed") if (worker, shard) == (1, 0) else None)
    with caplog.at_level(logging.WARNING):
        found = run(ray)
    assert ray.hired == 3
    lost = [shard for worker, shard in ray.log if worker == 1]
    again = [shard for worker, shard in ray.log if worker != 1]
    assert 0 in lost
    assert set(lost) <= set(again)
    assert found[0].note["worker"] != 1
    assert "died with shard 0" in caplog.text
    assert not ray.alive


def test_a_shard_that_kills_every_worker_is_named_after_so_many() -> None:
    ray = FakeRay(lambda worker, shard: RayError("out of memory") if shard == 3 else None)
    with pytest.raises(ValueError, match=r"shard 3 \(rows 3 to 3-last\) has cost 3 Ray workers .*: out of memory"):
        run(ray, retries=2)
    assert [shard for _, shard in ray.log].count(3) == 3
    assert not ray.alive


def test_an_error_of_the_work_itself_is_not_tried_again() -> None:
    cause = ValueError("row 2 (made) has no token to encode")
    ray = FakeRay(lambda worker, shard: RayTaskError(cause) if shard == 2 else None)
    with pytest.raises(ValueError, match=r"row 2 .made. has no token to encode") as caught:
        run(ray)
    assert caught.value is cause
    assert [shard for _, shard in ray.log].count(2) == 1
    assert not ray.alive


def test_workers_that_never_start_end_the_run() -> None:
    ray = FakeRay(lambda worker, shard: RayError("No module named 'siftune'") if shard is None else None)
    with pytest.raises(ValueError, match=r"(?s)do not start: No module named 'siftune'.* every node"):
        run(ray)
    assert not ray.log
    assert not ray.alive


def test_a_run_that_is_left_ends_its_workers() -> None:
    ray = FakeRay()
    tasks = [Task(0, lambda: rows_of(0)), Task(1, lambda: rows_of(1))]
    blocks = Crew(ray, None, Resources(1, 0), in_flight=1, retries=0).blocks(tasks, 1)  # type: ignore[arg-type]
    next(blocks)
    assert ray.alive
    blocks.close()
    assert not ray.alive


def cluster(*nodes: dict[str, float]) -> Any:
    return SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": node} for node in nodes])


def test_workers_fit_node_by_node() -> None:
    assert places(cluster({"CPU": 3}, {"CPU": 1}), Resources(2, 0)) == 1
    assert places(cluster({"CPU": 8, "GPU": 2}, {"CPU": 8}), Resources(1, 0.5)) == 4
    with pytest.raises(ValueError, match=r"takes 4 CPUs and no node .*\(3 CPUs, 0 GPUs\): .*cpus_per_worker"):
        places(cluster({"CPU": 3}), Resources(4, 0))


@pytest.mark.parametrize(("key", "value"), [("num_workers", 0), ("cpus_per_worker", 0), ("retries", -1)])
def test_numbers_that_make_no_sense_are_refused(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"runtime\.{key}={value}"):
        RayRuntime(**{key: value})


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'siftune\[ray\]'"):
        RayRuntime().check()
