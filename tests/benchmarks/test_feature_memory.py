"""Memory of embedding and scoring against the number of rows.

pytest -m benchmark -s tests/benchmarks/test_feature_memory.py
SIFTUNE_BENCHMARK_SIZES=10000,100000 leaves out the longest.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from siftune.finetune.model_sources import ModelRef, RandomModel
from siftune.selection.features.encoders.causal_lm import CausalLMEncoder
from siftune.selection.features.encoders.embedding import embed
from siftune.selection.features.scorers.losses import LossScorer
from siftune.selection.features.scorers.scoring import score
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.store import Pool, build_pool

pytestmark = pytest.mark.benchmark

SIZES = tuple(int(size) for size in os.environ.get("SIFTUNE_BENCHMARK_SIZES", "10000,100000,1000000").split(","))
ALLOWED_GROWTH_MB = 64
"""What the notes of 2,000 shards and an allocator's moods may take more at 1,000,000 rows than at 10,000."""


def short_rows(folder: Path, size: int) -> Pool:
    """A pool of so many conversations of a dozen words."""
    path = folder / f"{size}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(size):
            turns = [{"role": "user", "content": f"what is {i} plus {i % 7}"}]
            turns.append({"role": "assistant", "content": f"it is {i + i % 7}" + " indeed" * (i * 7919 % 5)})
            file.write(json.dumps({"messages": turns}) + "\n")
    build_pool(FilePool(name="made", path=str(path)), folder / f"pool-{size}")
    path.unlink()
    return Pool.open(folder / f"pool-{size}")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[RandomModel, ModelRef]:
    model, folder = RandomModel(), tmp_path_factory.mktemp("tiny")
    model.build(folder)
    return model, model.reference(folder)


@pytest.mark.parametrize("feature", ["embeddings", "perplexity"])
def test_memory_does_not_grow_with_the_rows(
    feature: str, tiny: tuple[RandomModel, ModelRef], tmp_path: Path, bench: Any
) -> None:
    model, reference = tiny
    encoder = CausalLMEncoder(name="tiny", model=model)
    scorer = LossScorer(name="tiny", model=model, scores=("perplexity",))

    def compute(pool: Pool, folder: Path) -> object:
        if feature == "embeddings":
            return embed(pool, encoder, reference, folder)
        return score(pool, scorer, reference, folder)

    compute(short_rows(tmp_path, 600), tmp_path / "warm-up")
    taken = []
    for size in SIZES:
        pool = short_rows(tmp_path, size)
        measured = bench.measure(lambda pool=pool, size=size: compute(pool, tmp_path / f"of-{size}"))
        bench.row(f"{feature} by tiny", f"{size:,} rows", measured, rows_per_second=size / measured.seconds, n=size)
        taken.append(measured.megabytes)
    assert max(taken) < taken[0] + ALLOWED_GROWTH_MB
