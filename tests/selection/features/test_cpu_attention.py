"""Attention on CPUs: against its definition, and in the library's models against torch's own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    BertConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from siftune.selection.features import cpu_attention
from siftune.selection.features.cpu_attention import NAME, attention, causal_attention, use_fast_attention

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
ARCHITECTURES = (
    LlamaConfig(**SIZES),
    Qwen2Config(**SIZES),
    MistralConfig(**SIZES, sliding_window=None),
    MistralConfig(**SIZES, sliding_window=5),
    Olmo2Config(**SIZES),
    BertConfig(**SIZES),
)


def states(batch: int, heads: int, groups: int, length: int, size: int = 8) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(length)
    return [
        torch.randn(batch, n, length, size, generator=generator, dtype=torch.float64) for n in (heads, groups, groups)
    ]


@pytest.mark.parametrize(
    ("batch", "heads", "groups", "length"), [(1, 1, 1, 1), (2, 6, 2, 7), (3, 4, 4, 8), (1, 4, 1, 21)]
)
def test_is_the_definition(batch: int, heads: int, groups: int, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_attention, "QUERIES", 8)
    query, key, value = states(batch, heads, groups, length)
    found = causal_attention(query, key, value, 0.3)
    assert found.shape == (batch, length, heads, 8)
    for head in range(heads):
        group = head // (heads // groups)
        for place in range(length):
            scores = 0.3 * torch.einsum("bd,bkd->bk", query[:, head, place], key[:, group, : place + 1])
            expected = torch.einsum("bk,bkd->bd", scores.softmax(-1), value[:, group, : place + 1])
            torch.testing.assert_close(found[:, place, head], expected, rtol=1e-9, atol=1e-12)


def module(causal: bool) -> torch.nn.Module:
    made = torch.nn.Module()
    made.num_key_value_groups, made.is_causal = 2, causal  # type: ignore[assignment]
    return made


@pytest.mark.parametrize("kind", ["bool", "added", "one a head", "none"])
def test_masked_is_what_torch_gives(kind: str) -> None:
    query, key, value = states(3, 4, 2, 6)
    mask = None if kind == "none" else torch.rand(3, 4 if kind == "one a head" else 1, 6, 6) > 0.4
    if mask is not None:
        mask[..., 0] = True
    if kind == "added":
        mask = torch.zeros(3, 1, 6, 6, dtype=torch.float64).masked_fill(~mask, -torch.inf)
    ours, theirs = (
        forward(module(causal=False), query, key, value, mask, scaling=0.3)[0]
        for forward in (attention, sdpa_attention_forward)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_query_that_sees_nothing_is_finite() -> None:
    mask = torch.tensor([True, False])[:, None].expand(1, 1, 2, 2)
    assert attention(module(causal=False), *states(1, 4, 2, 2), mask)[0].isfinite().all()


def test_what_is_neither_is_left_to_torch() -> None:
    query, key, value = states(2, 4, 2, 6)
    ours, theirs = (
        forward(module(causal=True), query[:, :, 5:], key, value, None, scaling=0.3)[0]
        for forward in (attention, sdpa_attention_forward)
    )
    assert torch.equal(ours, theirs)
    assert ours.shape == (2, 1, 4, 8)


def made(config: PreTrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModel.from_config(copy.deepcopy(config), dtype=torch.float32).eval().to(dtype)
    return model


@torch.inference_mode()
@pytest.mark.parametrize(
    "config", ARCHITECTURES, ids=lambda config: f"{config.model_type}-{getattr(config, 'sliding_window', None)}"
)
def test_models_of_the_library_give_what_they_gave(config: PreTrainedConfig) -> None:
    tokens = torch.randint(50, (3, 40), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(tokens)
    mask[1, 30:] = 0
    plain, fast = made(config, torch.bfloat16), made(config, torch.bfloat16)
    use_fast_attention(fast)
    assert fast.config._attn_implementation == NAME
    truth = made(config, torch.float32)(input_ids=tokens, attention_mask=mask).last_hidden_state[mask == 1]
    errors = []
    for model in (plain, fast):
        found = model(input_ids=tokens, attention_mask=mask).last_hidden_state[mask == 1].float()
        errors.append(float((found - truth).norm() / truth.norm()))
    assert errors[1] < 1.5 * errors[0] < 0.05


def test_other_number_formats_and_choices_are_left_alone() -> None:
    model = made(ARCHITECTURES[0], torch.float32)
    use_fast_attention(model)
    assert model.config._attn_implementation == "sdpa"
    eager = made(ARCHITECTURES[0], torch.bfloat16)
    eager.set_attn_implementation("eager")
    use_fast_attention(eager)
    assert eager.config._attn_implementation == "eager"
    use_fast_attention(torch.nn.Linear(2, 2).to(torch.bfloat16))
