"""The CPU kernels give the losses and gradients of the plain formulas."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.nn.functional import cross_entropy

from siftune.finetune import cpu_head, cpu_lora
from siftune.finetune.model import load_causal_lm
from siftune.finetune.model_sources import ModelRef


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("count", [0, 1, cpu_head.CHUNK, 2 * cpu_head.CHUNK + 3])
def test_summed_cross_entropy_and_its_gradients(count: int) -> None:
    targets = torch.arange(count) % 50
    mine, plain = ([draw(count, 8).requires_grad_(), draw(50, 8).requires_grad_()] for _ in range(2))
    loss = cpu_head.SummedCrossEntropy.apply(*mine, targets) / 7
    expected = cross_entropy(plain[0] @ plain[1].T, targets, reduction="sum") / 7
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for a, b in zip(mine, plain, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, weight = draw(5, 8).requires_grad_(), draw(50, 8)
    cpu_head.SummedCrossEntropy.apply(hidden, weight, torch.arange(5)).backward()
    assert weight.grad is None
    assert hidden.grad is not None


def test_models_whose_logits_are_not_the_bare_product_are_left_to_trl(tiny: ModelRef) -> None:
    model = load_causal_lm(tiny)
    assert cpu_head.supports(model)
    model.config.final_logit_softcapping = 30.0
    assert not cpu_head.supports(model)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 3e-2)])
def test_fused_adapters_give_the_loss_and_gradients_of_peft(tiny: ModelRef, dtype: str, tolerance: float) -> None:
    ids = torch.arange(4, 44).reshape(2, 20)
    results = []
    for fuse in (False, True):
        torch.manual_seed(0)
        settings = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(load_causal_lm(tiny, dtype=dtype), settings)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
        assert (cpu_lora.fuse_adapters(model) if fuse else 14) == 14
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        results.append((loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (plain_loss, plain), (fused_loss, fused) = results
    torch.testing.assert_close(fused_loss, plain_loss, rtol=tolerance, atol=tolerance)
    assert plain.keys() == fused.keys()
    for name in plain:
        assert fused[name].dtype == torch.float32
        assert (fused[name] - plain[name]).norm() <= tolerance * plain[name].norm()


def test_layers_with_dropout_keep_pefts_forward(tiny: ModelRef) -> None:
    settings = LoraConfig(r=4, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM")
    assert cpu_lora.fuse_adapters(get_peft_model(load_causal_lm(tiny), settings)) == 0
