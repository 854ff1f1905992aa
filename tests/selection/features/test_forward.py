"""Which layer's hidden states come out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModel, GPT2Config, LlamaConfig, MistralConfig, Olmo2Config, PreTrainedConfig, Qwen2Config

from siftune.selection.features.forward import end_at_layer, last_hidden_states, padded

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
TOKENS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])


def made(config: PreTrainedConfig) -> Any:
    torch.manual_seed(0)
    model = AutoModel.from_config(config).eval()
    # A norm that scales, so that hidden states with and without it differ.
    for name, parameter in model.named_parameters():
        if name == "norm.weight":
            torch.nn.init.uniform_(parameter, 0.5, 2.0)
    return model


@torch.inference_mode()
@pytest.mark.parametrize("kind", [LlamaConfig, Qwen2Config, MistralConfig, Olmo2Config])
@pytest.mark.parametrize("layer", [0, 1, 2, 3, -1, -2, -3, -4])
def test_layer_is_the_one_that_output_hidden_states_counts(kind: type[PreTrainedConfig], layer: int) -> None:
    expected = made(kind(**SIZES))(TOKENS, output_hidden_states=True, use_cache=False).hidden_states
    assert len(expected) == 4
    model = made(kind(**SIZES))
    end_at_layer(model, layer, "encoder.hidden_layer")
    torch.testing.assert_close(last_hidden_states(model, TOKENS), expected[layer], rtol=0, atol=0)
    assert len(model.layers) == (layer + 4) % 4


def test_blocks_above_are_not_computed() -> None:
    model = made(LlamaConfig(**SIZES))
    above = model.layers[1]
    above.register_forward_hook(lambda *_: pytest.fail("a block above the layer was computed"))
    end_at_layer(model, 1, "encoder.hidden_layer")
    last_hidden_states(model, TOKENS)


@pytest.mark.parametrize("layer", [4, -5])
def test_layer_that_is_not_there_is_refused(layer: int) -> None:
    with pytest.raises(ValueError, match=rf"encoder\.hidden_layer={layer} .* 0 to 3, or -4 to -1"):
        end_at_layer(made(LlamaConfig(**SIZES)), layer, "encoder.hidden_layer")


def test_models_built_otherwise_have_their_last_layer_alone() -> None:
    config = GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2)
    end_at_layer(made(config), -1, "encoder.hidden_layer")
    with pytest.raises(ValueError, match=r"encoder\.hidden_layer=1: GPT2Model .* use -1"):
        end_at_layer(made(config), 1, "encoder.hidden_layer")


def test_padding_is_on_the_right() -> None:
    assert padded([[1, 2, 3], [4]], 0).tolist() == [[1, 2, 3], [4, 0, 0]]
