"""Two Ray nodes on this machine: the same bytes and picks as without, also when a worker is killed."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from siftune.finetune.model_sources import RandomModel
from siftune.selection.features.encoders.causal_lm import CausalLMEncoder
from siftune.selection.features.encoders.embedding import EncodeJob, embed
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.mapping import map_rows
from siftune.selection.features.runtimes import ray_spread
from siftune.selection.features.runtimes.mapped_rows import MappedRows
from siftune.selection.features.runtimes.ray_runtime import RayRuntime
from siftune.selection.features.runtimes.runtime import OpenJob
from siftune.selection.features.shards import Block
from siftune.selection.interface import Budget, Features
from siftune.selection.methods.rds import RDSPlus
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool, build_pool

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray", reason="needs siftune[ray]")

ROWS, SHARD_ROWS = 300, 32
OBJECT_STORE = 100 * 2**20


@pytest.fixture(scope="module")
def runtime() -> Iterator[RayRuntime]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    # Classes of this file are unknown to the workers.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": OBJECT_STORE})
    try:
        cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE)
        yield RayRuntime(address=cluster.address)
    finally:
        ray.shutdown()
        cluster.shutdown()
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("made")
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for i in range(ROWS):
            answer = "the answer is to sort the list by name " * (1 + i * 7919 % 23)
            turns = [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"messages": turns}) + "\n")
    build_pool(FilePool(name="made", path=str(folder / "rows.jsonl")), folder / "pool")
    return Pool.open(folder / "pool")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> EncodeJob:
    model = RandomModel()
    folder = tmp_path_factory.mktemp("model")
    model.build(folder)
    return EncodeJob(CausalLMEncoder(name="tiny", model=model), model.reference(folder))


@dataclass(frozen=True)
class Watched:
    """A job that notes each start of a computation in a file and takes its time; `refused` is a row it cannot do."""

    names: ClassVar[tuple[str, ...]] = ("embeddings",)

    job: EncodeJob
    log: Path
    seconds: float = 0.0
    refused: str = ""

    def open(self) -> OpenJob:
        return OpenWatched(self, self.job.open())


class OpenWatched:
    def __init__(self, watched: Watched, opened: OpenJob) -> None:
        self.watched, self.opened = watched, opened

    def prepare(self, rows: Sequence[Row]) -> Any:
        return self.opened.prepare(rows)

    def compute(self, rows: Sequence[Row], prepared: Any, progress: Progress) -> Block:
        node = ray.get_runtime_context().get_node_id()
        with self.watched.log.open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {rows[0].id} {node}\n")
        time.sleep(self.watched.seconds)
        if self.watched.refused in {row.id for row in rows}:
            raise ValueError(f"row {self.watched.refused} cannot be encoded")
        return self.opened.compute(rows, prepared, progress)


def starts(log: Path) -> list[list[str]]:
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def test_embeddings_have_the_bytes_of_a_local_run(
    runtime: RayRuntime, pool: Pool, job: EncodeJob, tmp_path: Path
) -> None:
    map_rows(pool, job, tmp_path / "local", shard_rows=SHARD_ROWS)
    told: list[int] = []
    watched = Watched(job, tmp_path / "log", seconds=0.05)
    map_rows(pool, watched, tmp_path / "ray", runtime, told.append, shard_rows=SHARD_ROWS)
    local, ours = ((tmp_path / name / "embeddings.npy").read_bytes() for name in ("local", "ray"))
    assert local == ours
    assert sum(told) == ROWS
    assert len({node for _, _, node in starts(tmp_path / "log")}) == 2
    assert workers_have_ended()


def test_a_worker_killed_with_sigkill_costs_one_shard(
    runtime: RayRuntime, pool: Pool, job: EncodeJob, tmp_path: Path
) -> None:
    map_rows(pool, job, tmp_path / "local", shard_rows=SHARD_ROWS)
    log, victim = tmp_path / "log", []

    def kill() -> None:
        while len(starts(log)) < 4:
            time.sleep(0.01)
        victim.append(starts(log)[-1])
        os.kill(int(victim[0][0]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    map_rows(pool, Watched(job, log, seconds=0.5), tmp_path / "ray", runtime, shard_rows=SHARD_ROWS)
    killer.join()
    computed = Counter(first for _, first, _ in starts(log))
    assert computed == {str(pool.row(i).id): 1 for i in range(0, ROWS, SHARD_ROWS)} | {victim[0][1]: 2}
    local, ours = ((tmp_path / name / "embeddings.npy").read_bytes() for name in ("local", "ray"))
    assert local == ours


def test_an_error_of_the_work_is_the_users_and_is_not_tried_again(
    runtime: RayRuntime, pool: Pool, job: EncodeJob, tmp_path: Path
) -> None:
    refused, first = str(pool.row(100).id), str(pool.row(96).id)
    watched = Watched(job, tmp_path / "log", refused=refused)
    with pytest.raises(ValueError, match=f"^row {refused} cannot be encoded$"):
        map_rows(pool, watched, tmp_path / "ray", runtime, shard_rows=SHARD_ROWS)
    assert [row for _, row, _ in starts(tmp_path / "log")].count(first) == 1
    assert workers_have_ended()
    # What was computed before the error is kept.
    map_rows(pool, job, tmp_path / "ray", shard_rows=SHARD_ROWS)
    map_rows(pool, job, tmp_path / "local", shard_rows=SHARD_ROWS)
    local, ours = ((tmp_path / name / "embeddings.npy").read_bytes() for name in ("local", "ray"))
    assert local == ours


def test_a_model_that_a_node_does_not_have_is_named_with_the_remedy(
    runtime: RayRuntime, pool: Pool, tmp_path: Path
) -> None:
    model = RandomModel()
    encoder = CausalLMEncoder(name="tiny", model=model)
    with pytest.raises(ValueError, match=r"(?s)absent cannot be loaded.*on node .* of the Ray cluster.*same path"):
        embed(pool, encoder, model.reference(tmp_path / "absent"), tmp_path / "ray", runtime=runtime)


@pytest.mark.parametrize("where", ["mapped", "held", "unreachable"])
def test_rds_picks_are_those_of_a_local_run(
    runtime: RayRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    rng = np.random.default_rng(3)
    np.save(tmp_path / "rows.npy", rng.standard_normal((6000, 16)).astype(np.float32))
    rows = np.load(tmp_path / "rows.npy", mmap_mode=None if where == "held" else "r")
    mapped: list[MappedRows | None] = []

    def watched(array: np.ndarray, part: range) -> MappedRows | None:
        mapped.append(
            MappedRows(str(tmp_path / "absent"), 0, 0, 0, (1,), "<f4") if where == "unreachable" else real(array, part)
        )
        return mapped[-1]

    real = ray_spread.mapped_rows
    monkeypatch.setattr(ray_spread, "mapped_rows", watched)
    queries = {task: rng.standard_normal((4, 16)) for task in ("a", "b")}
    features = Features(size=len(rows), embeddings=rows, queries=queries)
    budget = Budget(unit="examples", amount=900)
    local = RDSPlus().select(features, budget, np.random.default_rng(0))
    assert not mapped
    with runtime.spread():
        ours = RDSPlus().select(features, budget, np.random.default_rng(0))
    assert np.array_equal(local.indices, ours.indices)
    assert np.array_equal(local.gains, ours.gains)
    assert any(part is not None for part in mapped) == (where != "held")


def workers_have_ended() -> bool:
    """Whether the CPUs that they occupied are free again, in a while."""
    deadline = time.monotonic() + 20
    while ray.available_resources().get("CPU") != 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    return bool(ray.available_resources().get("CPU") == 2)
