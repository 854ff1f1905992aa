"""The steps on a pool, on the real pool at three sizes: rows a second, memory, and how both grow.

pytest tests/benchmarks/test_pool_steps.py -m benchmark -s
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from datasketch import MinHash, MinHashLSH

from siftune.evaluate.contamination import Decontaminate, pool_overlaps
from siftune.evaluate.documents import Document
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.near_duplicates import NearDuplicates, find_near_duplicates
from siftune.selection.pool.store import Pool, build_pool
from siftune.selection.pool.words import turns, words_and_marks

pytestmark = pytest.mark.benchmark
SIZES = (10_000, 30_000, 77_995)


@pytest.fixture(scope="module")
def pools(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Pool]:
    """Beginnings of the real pool."""
    found = {}
    for size in SIZES:
        folder = tmp_path_factory.mktemp(str(size))
        source = FilePool(name="real", path=str(shared / "pools" / "instructions_real.jsonl.gz"), rows=f"0:{size}")
        build_pool(source, folder)
        found[size] = Pool.open(folder)
    return found


@pytest.fixture(scope="module")
def documents(shared: Path) -> list[Document]:
    """The test questions of GSM8K and MMLU: 15,361."""
    found = []
    for task, name in (("gsm8k", "gsm8k_test.jsonl"), ("mmlu", "mmlu_test.jsonl.gz")):
        path = shared / "benchmarks" / name
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            questions = [json.loads(line)["question"] for line in file]
        found += [Document(task, f"{task}/{place}", question, "") for place, question in enumerate(questions)]
    return found


def _library_alone(pool: Pool, config: NearDuplicates) -> int:
    """As datasketch's documentation has it: its own hash of every shingle, its own tables; decided on the estimate."""
    bands = config.bands()
    index, removed = MinHashLSH(num_perm=config.num_permutations, params=bands), 0
    for row, messages in enumerate(pool.conversations(0, len(pool))):
        tokens = words_and_marks("\n".join(turns(messages, config.text)))
        runs = zip(*(tokens[start:] for start in range(config.ngram)), strict=False)
        sketch = MinHash(num_perm=config.num_permutations)
        sketch.update_batch([" ".join(run).encode() for run in runs])
        if index.query(sketch):
            removed += 1
        else:
            index.insert(row, sketch)
    return removed


def test_near_duplicates(bench: Any, pools: dict[int, Pool], tmp_path: Path) -> None:
    find_near_duplicates(pools[SIZES[0]], NearDuplicates(), tmp_path)  # compiles
    for size, pool in pools.items():
        ours = bench.measure(lambda pool=pool: find_near_duplicates(pool, NearDuplicates(), tmp_path))
        plain = bench.measure(lambda pool=pool: _library_alone(pool, NearDuplicates())) if size == SIZES[0] else None
        removed = int((ours.result.copy_of >= 0).sum())
        bench.row(
            "near-duplicates",
            f"{size:,} rows",
            ours,
            plain=plain,
            rows_per_second=size / ours.seconds,
            removed=removed,
            compared=ours.result.compared,
        )
        assert removed > 0


def test_contamination(bench: Any, pools: dict[int, Pool], documents: list[Document]) -> None:
    for size, pool in pools.items():
        ours = bench.measure(lambda pool=pool: pool_overlaps(pool, documents, Decontaminate()))
        removed = len(ours.result.worst().row)
        bench.row(
            "contamination", f"{size:,} rows", ours, rows_per_second=size / ours.seconds, rows_with_questions=removed
        )
        assert removed < size / 100
