"""What the benchmarks measure with: seconds and peak memory of a call, and what the machine gives at most."""

from __future__ import annotations

import ctypes
import gc
import gzip
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from siftune.selection.pool.rows import Row


@dataclass(frozen=True)
class Measured:
    """One way of computing something, measured."""

    result: Any
    seconds: float
    """Wall time of the best repeat."""
    cpu_seconds: float
    """Time of all threads in that repeat; less disturbed by other work on the machine."""
    megabytes: float
    """Peak resident memory above the start, without pages of mapped files."""


def measure(work: Callable[[], Any], repeats: int = 1) -> Measured:
    """Run `work` and keep the best of its repeats."""
    _give_back_memory()
    stop = threading.Event()
    start = peak = _own_memory()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.005):
            peak = max(peak, _own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    times = []
    for _ in range(repeats):
        before, cpu_before = time.perf_counter(), time.process_time()
        result = work()
        times.append((time.perf_counter() - before, time.process_time() - cpu_before))
    stop.set()
    watcher.join()
    return Measured(result, *min(times), (peak - start) / 1e6)


def _give_back_memory() -> None:
    """Memory that earlier work freed would otherwise be taken again unseen (glibc keeps it)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _own_memory() -> int:
    """Bytes resident without pages of mapped files, which the system may drop at any time (Linux)."""
    memory = psutil.Process().memory_info()
    return int(memory.rss - memory.shared)


def gemm_seconds(rows: int, columns: int, dimension: int) -> float:
    """Seconds of the bare float32 product (rows, dimension) x (dimension, columns), in blocks of 8,192 rows at most."""
    block = min(rows, 8192)
    left, right = torch.rand(block, dimension), torch.rand(columns, dimension)
    out = torch.empty(block, columns)
    seconds = []
    for _ in range(3):
        before = time.perf_counter()
        torch.mm(left, right.T, out=out)
        seconds.append(time.perf_counter() - before)
    return min(seconds) * rows / block


def bandwidth() -> float:
    """Bytes a second that one pass over a large array reads, by all threads."""
    data = torch.ones(2**27)
    seconds = []
    for _ in range(3):
        before = time.perf_counter()
        data.sum()
        seconds.append(time.perf_counter() - before)
    return 4 * 2**27 / min(seconds)


@dataclass(frozen=True)
class Rate:
    """How fast products ran."""

    wall: float
    """FLOP a second."""
    cpu: float
    """FLOP a second of all threads' time: less disturbed by other work on the machine."""


def gemm_rate(dtype: torch.dtype, rows: int, columns: int, dimension: int, seconds: float = 1.0) -> Rate:
    """Of the bare product (rows, dimension) x (dimension, columns) by torch's threads."""
    left, right = torch.randn(rows, dimension).to(dtype), torch.randn(columns, dimension).to(dtype)
    torch.nn.functional.linear(left, right)
    count, start, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        torch.nn.functional.linear(left, right)
        count += 1
    flops = 2.0 * count * rows * columns * dimension
    return Rate(flops / (time.perf_counter() - start), flops / (time.process_time() - cpu))


@dataclass(frozen=True)
class Useful:
    """What a benchmark prints of a model's speed: FLOPs that the rows need, and the share of what the machine gives."""

    measured: Measured
    flops: float
    """Of the products with weights, at the rows' own tokens: neither padding nor attention's products are counted."""
    rate: Rate
    """Of the bare product in the same process, the mean of just before and just after."""

    def figures(self, rows: int, tokens: int, positions: int) -> dict[str, float]:
        """For `bench.row`."""
        seconds, cpu = self.measured.seconds, self.measured.cpu_seconds
        return {
            "rows_per_second": rows / seconds,
            "rows_per_cpu_second": rows / cpu,
            "tokens_per_second": tokens / seconds,
            "useful_gflops": self.flops / 1e9,
            "padding_percent": 100 * (1 - tokens / positions),
            "mfu_percent_by_cpu_seconds": 100 * self.flops / cpu / self.rate.cpu,
            "mfu_percent_by_the_clock": 100 * self.flops / seconds / self.rate.wall,
            "gemm_gflops_per_cpu_second": self.rate.cpu / 1e9,
        }


def useful(work: Callable[[], Any], flops: float, product: Callable[[], Rate]) -> Useful:
    """Measure a model's run between two measurements of the bare product."""
    before = product()
    measured = measure(work)
    after = product()
    return Useful(measured, flops, Rate((before.wall + after.wall) / 2, (before.cpu + after.cpu) / 2))


def real_rows(shared: Path, count: int) -> list[Row]:
    """Rows of the real pool drawn at random, so that their lengths are distributed as the pool's."""
    with gzip.open(shared / "pools" / "instructions_real.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = file.readlines()
    drawn = [json.loads(lines[i]) for i in np.random.default_rng(0).choice(len(lines), count, replace=False)]
    return [Row(id=str(i), source=record["source"], messages=record["messages"]) for i, record in enumerate(drawn)]


class Table:
    """Prints a line for every size and, where SIFTUNE_BENCHMARKS names a file, appends it there as JSON."""

    def row(
        self,
        method: str,
        size: str,
        ours: Measured,
        *,
        plain: Measured | None = None,
        goal: str = "",
        machine: float | None = None,
        **figures: float,
    ) -> None:
        """`machine`: seconds that the bare product, or the bare reading, of the same work takes; shown as a share."""
        ratio = None if plain is None else plain.seconds / ours.seconds
        parts = [
            f"\n{method}, {size}: ours {ours.seconds:.3f} s (cpu {ours.cpu_seconds:.3f}), +{ours.megabytes:.0f} MB"
        ]
        if plain is not None:
            parts.append(f"plain {plain.seconds:.3f} s, +{plain.megabytes:.0f} MB: {ratio:,.0f} times")
        if machine is not None:
            parts.append(f"machine's limit {machine:.3f} s ({machine / ours.seconds:.0%})")
        parts += [f"{name} {value:g}" for name, value in figures.items()]
        print("; ".join(parts) + (f" [goal: {goal}]" if goal else ""))
        self._keep({"method": method, "size": size, "goal": goal, "machine": machine, **figures}, ours, plain)

    def _keep(self, line: dict[str, Any], ours: Measured, plain: Measured | None) -> None:
        target = os.environ.get("SIFTUNE_BENCHMARKS")
        if not target:
            return
        for name, measured in (("ours", ours), ("plain", plain)):
            line[name] = None if measured is None else _figures(measured)
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _figures(measured: Measured) -> dict[str, float]:
    return {"seconds": measured.seconds, "cpu_seconds": measured.cpu_seconds, "megabytes": measured.megabytes}


class Bench:
    """The tools above, as one fixture."""

    measure = staticmethod(measure)
    gemm_seconds = staticmethod(gemm_seconds)
    bandwidth = staticmethod(bandwidth)
    row = Table().row
    gemm_rate = staticmethod(gemm_rate)
    useful = staticmethod(useful)
    real_rows = staticmethod(real_rows)

    @staticmethod
    def vectors(count: int, dimension: int, seed: int = 0, clusters: int | None = None) -> np.ndarray:
        """(count, dimension) float32: normal, or around `clusters` centres as embeddings of text lie."""
        rng = np.random.default_rng(seed)
        points = rng.standard_normal((count, dimension), dtype=np.float32)
        if clusters is not None:
            centres = rng.standard_normal((clusters, dimension), dtype=np.float32)
            points *= 0.5
            points += centres[rng.integers(clusters, size=count)]
        return points


@pytest.fixture(scope="session")
def bench() -> Bench:
    """Measuring, the machine's limits, and the table."""
    return Bench()
