"""The causal-LM encoder, on a model of random weights: against the formula, and batches against single rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from siftune.finetune.chat import encode_text, render_prompt, render_text
from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import DType, ModelRef, RandomModel
from siftune.runs.fingerprint import fingerprint
from siftune.selection.features.encoders.causal_lm import CausalLMEncoder
from siftune.selection.features.encoders.encoder import Encoder, OpenEncoder
from siftune.selection.pool.rows import Row


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    RandomModel().build(folder)
    return folder


def row(prompt: str, answer: str) -> Row:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return Row(id=f"{prompt[:8]}-{len(answer)}", source="made", messages=messages)


def rows_of_very_different_lengths() -> list[Row]:
    words = ["find", "the", "file", "that", "was", "written", "first", "and", "sort", "it", "by", "name"]
    lengths = np.random.default_rng(0).permutation([1, 2, 2, 3, 5, 8, 8, 13, 40, 100, 101, 102, 300])
    return [row(f"question {i}", " ".join(np.resize(words[i % 5 :], n))) for i, n in enumerate(lengths)]


def opened(folder: Path, dtype: DType = "float32", **fields: Any) -> OpenEncoder:
    config = CausalLMEncoder(name="test", model=RandomModel(dtype=dtype), **fields)
    return config.open(config.model.reference(folder))


def test_vectors_are_the_papers_formula_over_the_authors_hidden_states(folder: Path) -> None:
    reference = ModelRef(str(folder), dtype="float32")
    model, tokenizer = load_causal_lm(reference), load_tokenizer(reference)
    rows = rows_of_very_different_lengths()
    block = opened(folder).encode(rows)
    for i in (0, 5, 12):
        ids = torch.tensor([encode_text(tokenizer, render_text(tokenizer, rows[i].messages))["input_ids"]])
        with torch.inference_mode():
            hidden = model(ids, output_hidden_states=True).hidden_states[-1][0].double().numpy()
        positions = np.arange(1, len(hidden) + 1)
        expected = (positions[:, None] / positions.sum() * hidden).sum(0)
        np.testing.assert_allclose(block.vectors[i], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", ["position_weighted_mean", "mean", "last_token"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 2**-6)])
def test_batches_give_what_single_rows_give(folder: Path, pooling: Any, dtype: DType, tolerance: float) -> None:
    rows = rows_of_very_different_lengths()
    together = opened(folder, dtype, pooling=pooling, tokens_per_batch=100_000).encode(rows)
    alone = opened(folder, dtype, pooling=pooling, tokens_per_batch=1).encode(rows)
    error = np.linalg.norm(together.vectors - alone.vectors, axis=1) / np.linalg.norm(alone.vectors, axis=1)
    assert error.max() <= tolerance
    assert alone.positions == alone.tokens == together.tokens < together.positions


def test_padding_of_any_width_does_not_reach_a_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siftune.selection.features.batching.MAX_PADDING", 1.0)
    rows = rows_of_very_different_lengths()
    padded = opened(folder, tokens_per_batch=100_000).encode(rows)
    assert padded.positions > 4 * padded.tokens
    alone = opened(folder, tokens_per_batch=1).encode(rows)
    np.testing.assert_allclose(padded.vectors, alone.vectors, rtol=1e-4, atol=1e-5)


def test_order_of_the_rows_does_not_matter(folder: Path) -> None:
    rows, encoder = rows_of_very_different_lengths(), opened(folder)
    forward, backward = encoder.encode(rows), encoder.encode(rows[::-1])
    np.testing.assert_allclose(forward.vectors, backward.vectors[::-1], rtol=1e-4, atol=1e-5)


def test_language_model_head_is_never_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*args: object, **kwargs: object) -> None:
        raise AssertionError("the language-model head was run")

    monkeypatch.setattr(LlamaForCausalLM, "forward", run)
    assert opened(folder).encode([row("a", "b")]).vectors.shape == (1, 64)


def test_text_is_the_conversation_the_prompt_or_the_response(folder: Path) -> None:
    tokenizer = load_tokenizer(ModelRef(str(folder)))
    one = Row(
        id="x",
        source="made",
        messages=[
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "answer one"},
            {"role": "user", "content": "second"},
            {"role": "assistant", "content": "answer two"},
        ],
    )
    expected = {
        "conversation": render_text(tokenizer, one.messages),
        "prompt": render_prompt(tokenizer, one.messages[:3]),
        "response": "answer two",
    }
    for text, whole in expected.items():
        encoder: Any = opened(folder, text=text)
        assert tokenizer.decode(encoder.token_ids(one)) == whole


def test_cut_is_on_the_right_and_counted(folder: Path) -> None:
    rows = [row("q", "word " * 100), row("q", "word " * 120), row("q", "a")]
    short, long = opened(folder, max_length=50), opened(folder, max_length=2048)
    block = short.encode(rows)
    assert block.truncated == 2
    assert block.tokens == 100 + long.encode(rows[2:]).tokens
    assert long.encode(rows).truncated == 0
    np.testing.assert_allclose(block.vectors[0], block.vectors[1], rtol=1e-5)


def test_row_without_a_token_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"row q-0 \(made\) has no token .*encoder\.text=response"):
        opened(folder, text="response").encode([BlankRow(id="q-0", source="made", messages=[])])


class BlankRow(Row):
    """A row whose answer has no text (a pool refuses such rows)."""

    def response(self) -> str:
        return ""


def test_progress_adds_up_to_the_rows(folder: Path) -> None:
    told: list[int] = []
    opened(folder).encode(rows_of_very_different_lengths(), told.append)
    assert sum(told) == 13
    assert len(told) > 3


def test_prepared_rows_give_what_encode_gives_and_need_no_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder: Any = opened(folder, max_length=60)
    rows = rows_of_very_different_lengths()
    expected = encoder.encode(rows)
    backbone = encoder._backbone
    monkeypatch.setattr(encoder, "_backbone", None)
    prepared = encoder.prepare(rows)
    monkeypatch.setattr(encoder, "_backbone", backbone)
    found = encoder.encode_prepared(prepared)
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    counts = [(block.truncated, block.tokens, block.positions) for block in (found, expected)]
    assert counts[0] == counts[1]
    assert counts[0][0] > 0


def test_hidden_layer_is_that_of_output_hidden_states(folder: Path) -> None:
    reference = ModelRef(str(folder), dtype="float32")
    model, tokenizer = load_causal_lm(reference), load_tokenizer(reference)
    one = row("first", "answer")
    ids = torch.tensor([encode_text(tokenizer, render_text(tokenizer, one.messages))["input_ids"]])
    with torch.inference_mode():
        layers = model(ids, output_hidden_states=True).hidden_states
    for layer in (0, 1, -2, -1):
        vector = opened(folder, pooling="last_token", hidden_layer=layer).encode([one]).vectors[0]
        np.testing.assert_allclose(vector, layers[layer][0, -1].numpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"encoder\.hidden_layer=9 is not one of the model's layers"):
        opened(folder, hidden_layer=9)


@pytest.mark.parametrize("text", ["conversation", "prompt", "response"])
def test_instruction_stands_before_what_the_first_turn_says(folder: Path, text: Any) -> None:
    told, plain = (opened(folder, text=text, instruction=given) for given in ("Instruct: sort\nQuery: ", None))
    one = row("first", "answer")
    marked = row("Instruct: sort\nQuery: first", "answer" if text != "response" else "Instruct: sort\nQuery: answer")
    assert told.token_ids(one) == plain.token_ids(marked) != plain.token_ids(one)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(told.encode([one]).vectors, plain.encode([marked]).vectors)
    assert one.messages[0]["content"] == "first"


def test_row_without_a_prompt_is_named(folder: Path) -> None:
    opening = Row(id="x", source="made", messages=[{"role": "assistant", "content": "hello"}])
    with pytest.raises(ValueError, match=r"row x \(made\) has no turn before its answer: encoder\.text=prompt"):
        opened(folder, text="prompt").encode([opening])


def test_config_is_an_encoder_whose_batches_are_no_part_of_its_identity() -> None:
    configs = [CausalLMEncoder(name=f"e{n}", model=RandomModel(), tokens_per_batch=n) for n in (64, 128)]
    assert isinstance(configs[0], Encoder)
    first, second = (fingerprint(version=1, config=config, inputs=config.inputs()) for config in configs)
    assert first == second
    other = CausalLMEncoder(name="e", model=RandomModel(), pooling="mean")
    assert fingerprint(version=1, config=other, inputs={}) != first
    CausalLMEncoder(name="e", model=RandomModel(), instruction="Instruct: sort\nQuery: ")
    with pytest.raises(ValueError, match=r"encoder\.instruction=.* a line break is meant"):
        CausalLMEncoder(name="e", model=RandomModel(), instruction="Instruct: sort\\nQuery: ")
    with pytest.raises(ValueError, match=r"encoder\.max_length=0"):
        CausalLMEncoder(name="e", model=RandomModel(), max_length=0)
