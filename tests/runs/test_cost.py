"""What stages take: the formulas, by hand."""

from __future__ import annotations

from transformers import LlamaConfig

from siftune.runs.cost import (
    ModelShape,
    forward_flops,
    forward_memory,
    training_disk,
    training_flops,
    training_memory,
)
from siftune.runs.planning.model_shape import causal_shape

SHAPE = ModelShape(
    body=1000,
    embedding=300,
    head=300,
    tied=True,
    hidden_size=10,
    num_layers=4,
    linear_width=50,
    weight_bytes=2,
)


def test_a_forward_pass_multiplies_the_body_at_every_token_and_the_head_at_predicted_ones() -> None:
    assert forward_flops(SHAPE, 7) == 2 * 1000 * 7
    assert forward_flops(SHAPE, 7, predicted=3) == 2 * 1000 * 7 + 2 * 300 * 3


def test_training_takes_six_a_trained_parameter_and_four_a_frozen_one() -> None:
    assert training_flops(SHAPE, 7, 3) == 6 * (1000 * 7 + 300 * 3)
    assert training_flops(SHAPE, 7, 3, adapter=80) == 4 * (1000 * 7 + 300 * 3) + 6 * 80 * 7


def test_gradient_checkpointing_costs_another_forward_pass_and_saves_memory() -> None:
    assert training_flops(SHAPE, 7, 3, recomputed=True) == 6 * (1000 * 7 + 300 * 3) + 2 * 1000 * 7
    assert training_memory(SHAPE, 64, recomputed=True) < training_memory(SHAPE, 64)


def test_full_training_holds_16_bytes_a_parameter_and_adapters_leave_the_rest_as_it_is() -> None:
    assert training_memory(SHAPE, 0) == 16 * 1300
    assert training_memory(SHAPE, 0, adapter=80) == 2 * 1300 + 16 * 80
    assert training_memory(SHAPE, 0, shards=4) == 16 * 1300 // 4


def test_tied_weights_are_counted_once() -> None:
    untied = ModelShape(**{**vars(SHAPE), "tied": False})
    assert (SHAPE.parameters, untied.parameters) == (1300, 1600)
    assert forward_memory(untied, 0) == 2 * 1600


def test_checkpoints_hold_weights_and_moments_and_one_is_there_twice_while_it_is_written() -> None:
    assert training_disk(SHAPE) == 12 * 1300 * 2 + 2 * 1300
    assert training_disk(SHAPE, keep=3) == 12 * 1300 * 4 + 2 * 1300
    assert training_disk(SHAPE, adapter=80) == 12 * 80 * 2 + 4 * 80
    assert training_disk(SHAPE, adapter=80, merged=True) == 12 * 80 * 2 + 2 * 1300


def test_the_shape_of_a_llama_is_that_of_its_config() -> None:
    config = LlamaConfig(
        hidden_size=8,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=100,
        tie_word_embeddings=False,
    )
    shape = causal_shape(config, weight_bytes=4)
    # q and o are 8 x 8, k and v 8 x 4, the three of the inner layer 8 x 32; two norms a layer, and the last one.
    products = 2 * 8 * 8 + 2 * 8 * 4 + 3 * 8 * 32
    assert shape.body == 2 * (products + 2 * 8) + 8
    assert shape.linear_width == 2 * (2 * 16 + 2 * 12 + 3 * 40)
    assert (shape.embedding, shape.head, shape.tied) == (800, 800, False)
    tied = causal_shape(LlamaConfig(**{**config.to_dict(), "tie_word_embeddings": True}), weight_bytes=4)
    assert (tied.body, tied.head, tied.parameters) == (shape.body, 800, shape.parameters - 800)
