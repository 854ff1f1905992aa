"""RDS+: the authors' algorithm as published (every similarity a Python number, lists sorted and popped) against ours.

    pytest tests/benchmarks/test_rds.py -m benchmark -s

Picks are compared as well. The plain form needs about 260 bytes a similarity, so the largest size runs ours alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from siftune.selection.interface import Budget, Features
from siftune.selection.kernels.similarity import unit_rows
from siftune.selection.methods.rds import RDSPlus

pytestmark = pytest.mark.benchmark
DIMENSION = 384
QUERIES = {"mmlu": 57, "gsm8k": 8, "bbh": 81, "tydiqa": 9, "codex": 16, "squad": 338, "alpacaeval": 50}


def _plain_single(similarity: np.ndarray, k: int) -> set[int]:
    """Queries in turn; a query whose best row is taken loses its turn. similarity (m, n). The authors keep the picks
    distinct by making a set of them at every turn, which loses their order."""
    scores = [dict(enumerate(row.tolist())) for row in similarity]
    ranked = [sorted(rows.items(), key=lambda item: item[1], reverse=True) for rows in scores]
    picks: list[int] = []
    while len(picks) < k:
        for ranking in ranked:
            row, _ = ranking.pop(0)
            picks.append(row)
            picks = list(set(picks))
            if len(picks) == k:
                break
    return set(picks)


def _plain_multi(similarity: list[np.ndarray], k: int) -> list[int]:
    """Per task the best similarity of each row, then tasks in turn as above."""
    tasks = []
    for block in similarity:
        by_query = [dict(enumerate(row.tolist())) for row in block]
        by_row: dict[int, list[float]] = {}
        for scores in by_query:
            for row, score in scores.items():
                by_row.setdefault(row, []).append(score)
        tasks.append({row: max(scores) for row, scores in by_row.items()})
    ranked = [sorted(task.items(), key=lambda item: item[1], reverse=True) for task in tasks]
    picks: dict[int, float] = {}
    while len(picks) < k:
        for ranking in ranked:
            row, score = ranking.pop(0)
            picks[row] = min(score, picks.get(row, float("inf")))
            if len(picks) == k:
                break
    return list(picks)


def _measured(work: Callable[[], Any], repeats: int = 1) -> tuple[Any, float, float]:
    """(result, seconds of the best repeat, peak MB above the start)."""
    stop = threading.Event()
    start = peak = _own_memory()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.005):
            peak = max(peak, _own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    seconds = []
    for _ in range(repeats):
        before = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - before)
    stop.set()
    watcher.join()
    return result, min(seconds), (peak - start) / 1e6


def _own_memory() -> int:
    """Bytes resident without pages of mapped files, which the system may drop at any time (Linux)."""
    memory = psutil.Process().memory_info()
    return int(memory.rss - memory.shared)


def _product_seconds(pool: np.ndarray, queries: np.ndarray) -> float:
    """Seconds of the bare float32 matrix product, in blocks: what the machine gives at most."""
    left, out = torch.from_numpy(queries), torch.empty(len(queries), 8192)
    seconds = []
    for _ in range(3):
        before = time.perf_counter()
        for first in range(0, len(pool), 8192):
            block = torch.from_numpy(pool[first : first + 8192])
            torch.mm(left, block.T, out=out[:, : len(block)] if len(block) < 8192 else out)
        seconds.append(time.perf_counter() - before)
    return min(seconds)


def _report(title: str, ours: tuple[float, float], product: float, plain: tuple[float, float] | None = None) -> None:
    line = f"\n{title}: ours {ours[0]:.3f} s, +{ours[1]:.0f} MB; bare product {product:.3f} s ({product / ours[0]:.0%})"
    if plain is not None:
        line += f"; plain {plain[0]:.1f} s, +{plain[1]:.0f} MB: {plain[0] / ours[0]:.0f} times"
    print(line)


def _vectors(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIMENSION), dtype=np.float32)


def test_several_tasks_20k_rows() -> None:
    """20,000 rows, 559 queries of 7 tasks, k = 10,000. Goal: 150 times."""
    pool, k = _vectors(0, 20_000), 10_000
    queries = {task: _vectors(number, count) for number, (task, count) in enumerate(QUERIES.items(), start=1)}
    features = Features(size=len(pool), embeddings=pool, queries=queries)
    method, rng = RDSPlus(on_duplicate="pass"), np.random.default_rng(0)
    ours, seconds, memory = _measured(lambda: method.select(features, Budget(k), rng), repeats=5)
    unit = unit_rows(pool.astype(np.float64))
    similarity = [unit_rows(rows.astype(np.float64)) @ unit.T for rows in queries.values()]
    plain, plain_seconds, plain_memory = _measured(lambda: _plain_multi(similarity, k))
    assert ours.indices.tolist() == plain
    product = _product_seconds(pool, np.concatenate(list(queries.values())))
    _report("7 tasks, 20k rows", (seconds, memory), product, (plain_seconds, plain_memory))


def test_one_task_20k_rows() -> None:
    """20,000 rows, 500 queries, k = 10,000. Goal: 180 times."""
    pool, queries, k = _vectors(0, 20_000), _vectors(1, 500), 10_000
    features = Features(size=len(pool), embeddings=pool, queries={"task": queries})
    method, rng = RDSPlus(on_duplicate="pass"), np.random.default_rng(0)
    ours, seconds, memory = _measured(lambda: method.select(features, Budget(k), rng), repeats=5)
    similarity = unit_rows(queries.astype(np.float64)) @ unit_rows(pool.astype(np.float64)).T
    plain, plain_seconds, plain_memory = _measured(lambda: _plain_single(similarity, k))
    assert set(ours.indices.tolist()) == plain
    _report("one task, 20k rows", (seconds, memory), _product_seconds(pool, queries), (plain_seconds, plain_memory))


@pytest.mark.parametrize(("size", "k"), [(200_000, 10_000), (1_000_000, 50_000)])
def test_one_task_memory_mapped(size: int, k: int, tmp_path: Path) -> None:
    """500 queries over a memory-mapped pool; goal at 1,000,000 rows: 5 s, 200 MB above the pool."""
    mapped = np.lib.format.open_memmap(tmp_path / "pool.npy", mode="w+", dtype=np.float32, shape=(size, DIMENSION))
    for first in range(0, size, 50_000):
        mapped[first : first + 50_000] = _vectors(first, len(mapped[first : first + 50_000]))
    mapped.flush()
    del mapped
    pool, queries = np.load(tmp_path / "pool.npy", mmap_mode="r"), _vectors(1, 500)
    features = Features(size=size, embeddings=pool, queries={"task": queries})
    _, seconds, memory = _measured(lambda: RDSPlus().select(features, Budget(k), np.random.default_rng(0)))
    product = _product_seconds(np.array(pool), queries)
    _report(f"one task, {size:,} rows, mapped", (seconds, memory), product)


def test_several_tasks_large_pool(tmp_path: Path) -> None:
    """1,000,000 float16 rows in a file, 7 tasks, k = 56,000: the paper's 326k of 5.8M at a sixth, with its memory."""
    size, k = 1_000_000, 56_000
    mapped = np.lib.format.open_memmap(tmp_path / "pool.npy", mode="w+", dtype=np.float16, shape=(size, DIMENSION))
    for first in range(0, size, 50_000):
        mapped[first : first + 50_000] = _vectors(first, 50_000)
    mapped.flush()
    pool = np.load(tmp_path / "pool.npy", mmap_mode="r")
    queries = {task: _vectors(number, count) for number, (task, count) in enumerate(QUERIES.items(), start=1)}
    features = Features(size=size, embeddings=pool, queries=queries)
    _, seconds, memory = _measured(lambda: RDSPlus().select(features, Budget(k), np.random.default_rng(0)))
    product = _product_seconds(np.array(pool[:200_000], dtype=np.float32), np.concatenate(list(queries.values()))) * 5
    _report("7 tasks, 1M float16 rows, mapped", (seconds, memory), product)


def test_mean_similarity_is_the_plain_mean() -> None:
    """2,000 rows, 100 queries, k = 500: means by Python's statistics, as the authors take them."""
    pool, queries, k = _vectors(0, 2000), _vectors(1, 100), 500
    features = Features(size=len(pool), embeddings=pool, queries={"task": queries})
    method, rng = RDSPlus(aggregation="mean"), np.random.default_rng(0)
    ours, seconds, memory = _measured(lambda: method.select(features, Budget(k), rng), repeats=5)
    similarity = unit_rows(queries.astype(np.float64)) @ unit_rows(pool.astype(np.float64)).T

    def plain() -> list[int]:
        means = {row: mean(column) for row, column in enumerate(similarity.T.tolist())}
        return [row for row, _ in sorted(means.items(), key=lambda item: item[1], reverse=True)[:k]]

    picks, plain_seconds, plain_memory = _measured(plain)
    assert ours.indices.tolist() == picks
    _report("mean, 2k rows", (seconds, memory), _product_seconds(pool, queries), (plain_seconds, plain_memory))
