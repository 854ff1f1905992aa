"""The reward scorer on sequence classifiers of random weights: against their own forward, one row at a time."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

from siftune.finetune.chat import ChatTemplateError
from siftune.finetune.model import ModelLoadError, load_tokenizer
from siftune.finetune.model_sources import HubModel, ModelRef, RandomModel
from siftune.finetune.tiny import byte_tokenizer
from siftune.selection.features.scorers.reward import RewardScorer
from siftune.selection.features.scorers.reward_model import OpenRewardScorer
from siftune.selection.features.scorers.scorer import Scorer
from siftune.selection.pool.rows import Row

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def save(folder: Path, kind: str = "llama", labels: int = 1, **settings: Any) -> Path:
    """A classifier of random weights and its tokenizer."""
    tokenizer = byte_tokenizer(512)
    sizes = SIZES | {
        "initializer_range": 0.2,
        "vocab_size": len(tokenizer),
        "num_labels": labels,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "llama":
            model: Any = LlamaForSequenceClassification(LlamaConfig(**sizes | settings))
        else:
            model = BertForSequenceClassification(BertConfig(**sizes | settings))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def scorer(folder: Path, **fields: Any) -> OpenRewardScorer:
    model = HubModel(name="tested", path=str(folder), dtype="float32")
    fields = {"max_length": 512} | fields
    opened = RewardScorer(name="test", model=model, **fields).open(model.reference(None))
    assert isinstance(opened, OpenRewardScorer)
    return opened


def rows() -> list[Row]:
    words = ["find", "the", "file", "that", "was", "written", "first", "and", "sort", "it", "by", "name"]
    lengths = [1, 90, 2, 30, 8, 91, 5]
    found = []
    for i, length in enumerate(lengths):
        answer = " ".join(np.resize(words[i % 5 :], length))
        turns = [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": answer}]
        found.append(Row(id=str(i), source="made", messages=turns * (1 + i % 2)))
    return found


@torch.inference_mode()
def plain(opened: OpenRewardScorer, text: str) -> list[float]:
    """The model's own logits of one text, BOS before it or not as it stands."""
    ids = opened._tokenizer(text, add_special_tokens=False)["input_ids"]
    logits: list[float] = opened._model(torch.tensor([ids])).logits[0].tolist()
    return logits


def chatml(row: Row) -> str:
    return "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in row.messages)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_reward_is_the_models_logit_of_the_conversation(tmp_path: Path, kind: str) -> None:
    opened = scorer(save(tmp_path, kind))
    block = opened.score(rows())
    assert block.reasons == {}
    assert block.values[:, 0].std() > 1e-3
    for i, row in enumerate(rows()):
        assert block.values[i, 0] == pytest.approx(plain(opened, chatml(row))[0], abs=1e-5)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_padding_of_any_width_does_not_reach_a_reward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("siftune.selection.features.batching.MAX_PADDING", 1.0)
    folder, told = save(tmp_path, kind), list[int]()
    together = scorer(folder, tokens_per_batch=100_000).score(rows(), told.append)
    alone = scorer(folder, tokens_per_batch=1).score(rows())
    assert together.positions > 2 * together.tokens
    assert alone.positions == alone.tokens == together.tokens
    np.testing.assert_allclose(together.values, alone.values, atol=1e-5)
    assert sum(told) == len(rows())


def test_reward_of_a_bfloat16_model_is_not_rounded_to_three_digits(tmp_path: Path) -> None:
    folder = save(tmp_path)
    exact = scorer(folder).score(rows()).values
    model = HubModel(name="tested", path=str(folder), dtype="bfloat16")
    opened = RewardScorer(name="test", model=model, max_length=512).open(model.reference(None))
    values = opened.score(rows()).values
    np.testing.assert_allclose(values, exact, atol=5e-2)
    rounded = torch.from_numpy(values).bfloat16().double().numpy()
    assert (rounded != values).sum() >= len(values) - 1


def test_padding_token_that_only_the_tokenizer_knows_is_used(tmp_path: Path) -> None:
    folder = save(tmp_path / "without", pad_token_id=None)
    expected = scorer(save(tmp_path / "with")).score(rows()).values
    np.testing.assert_allclose(scorer(folder, tokens_per_batch=100_000).score(rows()).values, expected, atol=1e-5)


def test_one_bos_stands_before_the_conversation(tmp_path: Path) -> None:
    """As in the card of FsfairX, whose template writes the BOS that its tokenizer would write again."""
    folder = save(tmp_path)
    opened = scorer(folder)
    row = rows()[0]
    expected = plain(opened, "<|endoftext|>" + chatml(row))
    opened._tokenizer.chat_template = "{{ bos_token }}" + opened._tokenizer.chat_template
    ids = opened.prepare([row]).ids[0]
    assert ids.count(opened._tokenizer.bos_token_id) == 1
    assert opened.score([row]).values[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_cut_rows_are_counted(tmp_path: Path) -> None:
    folder = save(tmp_path)
    block = scorer(folder, max_length=40).score(rows())
    assert block.truncated == sum(len(ids) > 40 for ids in scorer(folder).prepare(rows()).ids) > 0
    assert block.tokens <= 40 * len(rows())
    assert np.isfinite(block.values).all()


def test_several_outputs_need_a_label(tmp_path: Path) -> None:
    folder = save(tmp_path, labels=3)
    with pytest.raises(ValueError, match=r"the model tested has 3 outputs: scorer\.label=0 \.\.\. 2"):
        scorer(folder)
    with pytest.raises(ValueError, match=r"scorer\.label=3: the model tested has 3 outputs"):
        scorer(folder, label=3)
    opened = scorer(folder, label=2)
    assert opened.score(rows()).values[1, 0] == pytest.approx(plain(opened, chatml(rows()[1]))[2], abs=1e-5)


def test_what_cannot_be_a_reward_is_refused(tmp_path: Path) -> None:
    RandomModel().build(tmp_path / "lm")
    with pytest.raises(ModelLoadError, match=r"is no sequence classifier.*score\.weight"):
        scorer(tmp_path / "lm")
    folder = save(tmp_path / "short", max_position_embeddings=64)
    with pytest.raises(ValueError, match=r"scorer\.max_length=512 exceeds the 64 positions of tested"):
        scorer(folder)
    for fields, words in (({"label": -1}, "label=-1"), ({"max_length": 0}, "max_length=0")):
        with pytest.raises(ValueError, match=f"scorer.{words} must be at least"):
            scorer(folder, **fields)


def test_row_that_the_template_refuses_is_named(tmp_path: Path) -> None:
    opened = scorer(save(tmp_path))
    opened._tokenizer.chat_template = "{{ raise_exception('no such role') }}"
    with pytest.raises(ChatTemplateError, match=r"row 0 \(made\).*no such role"):
        opened.score(rows())


def test_model_that_gives_no_number_is_said_to(tmp_path: Path) -> None:
    opened = scorer(save(tmp_path))
    torch.nn.init.constant_(opened._model.score.weight, math.nan)
    assert opened.score(rows()[:2]).reasons == dict.fromkeys((0, 1), "the model gives no finite reward")


def test_config_is_a_scorer_with_its_own_model(tmp_path: Path) -> None:
    config = RewardScorer(name="reward", model=RandomModel())
    assert isinstance(config, Scorer)
    assert config.only(["reward"]) is config
    assert config.provides == ("reward",)
    assert dataclasses.replace(config, label=1) != config
    assert load_tokenizer(ModelRef(str(save(tmp_path)))).chat_template
