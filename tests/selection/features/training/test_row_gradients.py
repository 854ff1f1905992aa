"""Gradients of rows: out of one pass the same as one row at a time, and the direction that Adam would take."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import ModelRef, RandomModel
from siftune.finetune.snapshots import AdamState
from siftune.selection.features.tokens import tokenize_row
from siftune.selection.features.training.adam_direction import AdamDirection
from siftune.selection.features.training.projection import Projection
from siftune.selection.features.training.row_gradients import OpenGradients
from siftune.selection.features.training.sample_gradients import AdapterLayer, hand_on_gradients
from siftune.selection.pool.rows import Row, row_id

DIMENSION = 100_000
"""More than the adapters have parameters: with the identity as the projection, gradients come out as they are."""


class Identity(Projection):
    """No projection."""

    def add(self, total: torch.Tensor, piece: torch.Tensor, offset: int) -> None:
        total[:, offset : offset + piece.shape[1]] = piece


def make_row(*turns: str) -> Row:
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]
    return Row(id=row_id(messages), source="test", messages=messages)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    folder = tmp_path_factory.mktemp("tiny")
    model = RandomModel(dtype="float32")
    model.build(folder)
    return model.reference(folder)


def with_adapter(ref: ModelRef, modules: Any = "all-linear") -> Any:
    """The model with a LoRA adapter whose B is not zero, as after training."""
    torch.manual_seed(0)
    model = get_peft_model(load_causal_lm(ref), LoraConfig(r=3, lora_alpha=5, target_modules=modules))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    return model.eval()


def opened(ref: ModelRef, projection: Projection, max_length: int = 512, tokens_per_batch: int = 400) -> OpenGradients:
    tokenizer = load_tokenizer(ref)
    return OpenGradients(
        with_adapter(ref), tokenizer, projection, max_length=max_length, tokens_per_batch=tokens_per_batch
    )


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    made = [make_row(f"What is {i} plus {i}?", f"It is {2 * i}" + " and so on" * (i % 5)) for i in range(9)]
    return [*made, make_row("a", "b", "Are you sure that this is so?", "Yes, quite sure.")]


def one_by_one(ref: ModelRef, rows: list[Row]) -> np.ndarray:
    """(n, parameters) by plain autograd through peft's own layers, the loss as transformers computes it."""
    model, tokenizer, found = with_adapter(ref), load_tokenizer(ref), []
    weights = [weight for name, weight in model.named_parameters() if "lora_" in name]
    for row in rows:
        tokens = tokenize_row(tokenizer, row, 512)
        ids = torch.tensor([tokens.input_ids])
        labels = torch.where(torch.tensor([tokens.assistant_mask]) == 1, ids, -100)
        grads = torch.autograd.grad(model(input_ids=ids, labels=labels).loss, weights)
        found.append(torch.cat([grad.flatten() for grad in grads]).numpy())
    return np.stack(found)


def computed(gradients: OpenGradients, rows: list[Row]) -> np.ndarray:
    block = gradients.compute(rows, gradients.prepare(rows), lambda count: None)
    return block.arrays["gradients"]


def test_a_batch_gives_the_gradients_of_each_row_alone(tiny: ModelRef, rows: list[Row]) -> None:
    expected = one_by_one(tiny, rows)
    gradients = opened(tiny, Identity(DIMENSION))
    found = computed(gradients, rows)[:, : expected.shape[1]]
    assert sum(layer.size for layer in gradients.layers) == expected.shape[1]
    errors = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert errors.max() < 1e-5
    # Rows differ by far more than that.
    assert np.linalg.norm(expected[0] - expected[1]) / np.linalg.norm(expected[0]) > 0.1


def test_neither_batches_nor_order_matter(tiny: ModelRef, rows: list[Row]) -> None:
    projection = Projection(64)
    together = computed(opened(tiny, projection, tokens_per_batch=4000), rows)
    alone = computed(opened(tiny, projection, tokens_per_batch=1), rows[::-1])[::-1]
    assert np.abs(together - alone).max() < 1e-5 * np.abs(together).max()


def test_the_model_s_own_logits_give_the_same(tiny: ModelRef, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = computed(opened(tiny, Projection(64)), rows)
    monkeypatch.setattr("siftune.finetune.cpu_head.supports", lambda model: False)
    plain = computed(opened(tiny, Projection(64)), rows)
    assert np.abs(kernel - plain).max() < 1e-5 * np.abs(plain).max()


def test_a_row_without_a_response_has_no_gradient_and_a_reason(tiny: ModelRef, rows: list[Row]) -> None:
    long = make_row("why? " * 200, "because")
    gradients = opened(tiny, Projection(64), max_length=64)
    block = gradients.compute([rows[0], long], gradients.prepare([rows[0], long]), lambda count: None)
    assert np.isnan(block.arrays["gradients"]).all(axis=1).tolist() == [False, True]
    assert block.note["reasons"] == [[1, "no response token within max_length"]]
    assert block.note["truncated"] == 1


def test_progress_counts_every_row_once(tiny: ModelRef, rows: list[Row]) -> None:
    gradients, counts = opened(tiny, Projection(8), max_length=40), []
    given = [*rows, make_row("why? " * 200, "because")]
    gradients.compute(given, gradients.prepare(given), counts.append)
    assert sum(counts) == len(given)


@pytest.fixture
def one_layer(tiny: ModelRef) -> AdapterLayer:
    model = with_adapter(tiny, ["q_proj"])
    return hand_on_gradients(model, lambda layer, gradients: None)[0]


def _state(layer: AdapterLayer, m: float, v: float, step: int) -> AdamState:
    shapes = dict(zip(layer.parameters, (matrix.shape for matrix in layer.matrices), strict=True))
    first = {name: torch.full(shape, m) for name, shape in shapes.items()}
    second = {name: torch.full(shape, v) for name, shape in shapes.items()}
    return AdamState(first, second, step, (0.9, 0.999), 1e-8)


def test_the_direction_worked_by_hand(one_layer: AdapterLayer) -> None:
    """m = 1, v = 4 after one step, g = 2: m' = 1.1, v' = 4.0, corrected by 1 - 0.81 and 1 - 0.998001."""
    gradient = torch.full((1, one_layer.size), 2.0)
    direction = AdamDirection("adam", _state(one_layer, 1.0, 4.0, 1), [one_layer])
    wanted = (1.1 / 0.19) / (math.sqrt(4.0 / 0.001999) + 1e-8)
    assert direction(one_layer, gradient.clone()).flatten()[[0, -1]].tolist() == pytest.approx([wanted, wanted])
    authors = AdamDirection("authors", _state(one_layer, 1.0, 4.0, 1), [one_layer])
    assert authors(one_layer, gradient.clone())[0, 0].item() == pytest.approx(1.1 / math.sqrt(4.0 + 1e-8))
    # The epsilons differ where the second moment is small: 3e-10 is far below the published code's 1e-8.
    small = torch.full((1, one_layer.size), 0.0)
    state = _state(one_layer, 1e-5, 3e-10, 10**6)
    assert AdamDirection("adam", state, [one_layer])(one_layer, small.clone())[0, 0].item() == pytest.approx(
        0.9e-5 / (math.sqrt(0.999 * 3e-10) + 1e-8), rel=1e-5
    )
    assert AdamDirection("authors", state, [one_layer])(one_layer, small.clone())[0, 0].item() == pytest.approx(
        0.9e-5 / math.sqrt(0.999 * 3e-10 + 1e-8), rel=1e-5
    )


def test_the_direction_is_the_step_that_torch_takes(one_layer: AdapterLayer) -> None:
    torch.manual_seed(1)
    weight = torch.nn.Parameter(torch.randn(one_layer.size))
    optimizer = torch.optim.AdamW([weight], lr=1.0, weight_decay=0.0)
    for _ in range(4):
        weight.grad = torch.randn_like(weight)
        optimizer.step()
    down, up = one_layer.matrices
    parts = {
        kind: optimizer.state[weight][kind].clone().split([down.numel(), up.numel()])
        for kind in ("exp_avg", "exp_avg_sq")
    }
    first, second = (dict(zip(one_layer.parameters, parts[kind], strict=True)) for kind in ("exp_avg", "exp_avg_sq"))
    direction = AdamDirection("adam", AdamState(first, second, 4, (0.9, 0.999), 1e-8), [one_layer])
    gradient, before = torch.randn_like(weight), weight.detach().clone()
    weight.grad = gradient.clone()
    optimizer.step()
    found = direction(one_layer, gradient[None].clone())[0]
    torch.testing.assert_close(before - weight.detach(), found, rtol=1e-4, atol=1e-5)


def test_another_adapter_s_moments_are_refused(one_layer: AdapterLayer) -> None:
    state = AdamState({}, {}, 1, (0.9, 0.999), 1e-8)
    with pytest.raises(ValueError, match="belongs to another adapter"):
        AdamDirection("adam", state, [one_layer])


def test_a_model_without_adapters_is_refused(tiny: ModelRef, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no LoRA adapters"):
        hand_on_gradients(load_causal_lm(tiny), lambda layer, gradients: None)
    variant = get_peft_model(load_causal_lm(tiny), LoraConfig(r=2, use_dora=True, target_modules=["q_proj"]))
    with pytest.raises(ValueError, match="not a plain LoRA layer"):
        hand_on_gradients(variant, lambda layer, gradients: None)


def test_bfloat16_models_agree_in_direction(tiny: ModelRef, rows: list[Row]) -> None:
    exact = one_by_one(tiny, rows)
    rounded = computed(opened(dataclasses.replace(tiny, dtype="bfloat16"), Identity(DIMENSION)), rows)
    rounded = rounded[:, : exact.shape[1]]
    cosines = (exact * rounded).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rounded, axis=1)
    assert cosines.min() > 0.99
