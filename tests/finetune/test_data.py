"""Labels stand exactly where the assistant speaks, packed or not, and rows that cannot be trained on are counted."""

from __future__ import annotations

import dataclasses
import logging

import pytest
from transformers import PreTrainedTokenizerBase
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from siftune.finetune.chat import tokenize
from siftune.finetune.data import IGNORED, TrainingDataError, pack, tokenize_rows, with_blank_row
from siftune.finetune.model import load_tokenizer
from siftune.finetune.model_sources import ModelRef
from siftune.finetune.templates import shipped_templates
from siftune.selection.pool.rows import Row


@pytest.fixture(scope="module")
def tokenizer(tiny: ModelRef) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny)


def spoken(tokenizer: PreTrainedTokenizerBase, labels: list[int]) -> str:
    return str(tokenizer.decode([label for label in labels if label != IGNORED]))


def said(row: Row) -> str:
    return "".join(turn["content"] + "<|im_end|>" for turn in row.messages if turn["role"] == "assistant")


def test_labels_are_what_the_assistant_says_token_by_token(rows: list[Row], tokenizer: PreTrainedTokenizerBase) -> None:
    data = tokenize_rows(rows, tokenizer, 512)
    assert data.rows == len(data.dataset) == len(rows)
    for row, example in zip(rows, data.dataset, strict=True):
        assert spoken(tokenizer, example["labels"]) == said(row)
        pairs = zip(example["input_ids"], example["labels"], strict=True)
        assert all(label in (IGNORED, token) for token, label in pairs)


@pytest.mark.parametrize("template", shipped_templates())
def test_labels_follow_the_mask_of_every_template(tiny: ModelRef, rows: list[Row], template: str) -> None:
    tokenizer = load_tokenizer(dataclasses.replace(tiny, chat_template=template))
    for row, example in zip(rows, tokenize_rows(rows, tokenizer, 512).dataset, strict=True):
        mask = tokenize(tokenizer, row.messages, 512).assistant_mask
        assert sum(mask) > 0
        assert [int(label != IGNORED) for label in example["labels"]] == mask


def test_lengths_and_trained_tokens_are_counted(rows: list[Row], tokenizer: PreTrainedTokenizerBase) -> None:
    data = tokenize_rows(rows, tokenizer, 512)
    assert data.lengths.tolist() == [len(example["input_ids"]) for example in data.dataset]
    assert data.trained.tolist() == [sum(x != IGNORED for x in example["labels"]) for example in data.dataset]


def test_packed_sequences_hold_every_row_whole_with_its_own_labels(
    rows: list[Row], tokenizer: PreTrainedTokenizerBase
) -> None:
    data = tokenize_rows(rows, tokenizer, 512)
    packed = pack(data, 160, seed=0)
    assert len(packed.dataset) < len(rows)
    assert packed.lengths.max() <= 160
    assert packed.lengths.sum() == data.lengths.sum()
    assert packed.trained.sum() == data.trained.sum()
    found = []
    for sequence in packed.dataset:
        start = 0
        for length in sequence["seq_lengths"]:
            found.append(spoken(tokenizer, sequence["labels"][start : start + length]))
            start += length
    assert sorted(found) == sorted(said(row) for row in rows)


def test_the_collator_keeps_the_labels_of_packed_sequences(rows: list[Row], tokenizer: PreTrainedTokenizerBase) -> None:
    packed = pack(tokenize_rows(rows, tokenizer, 512), 160, seed=0)
    batch = DataCollatorForLanguageModeling(pad_token_id=3, padding_free=True)([*packed.dataset])
    assert int((batch["labels"] != IGNORED).sum()) == packed.trained.sum()


def test_packing_depends_on_the_seed_alone(rows: list[Row], tokenizer: PreTrainedTokenizerBase) -> None:
    data = tokenize_rows(rows, tokenizer, 512)
    first, again, other = (pack(data, 160, seed).dataset["input_ids"][:] for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_rows_cut_before_the_answer_are_left_out_and_named(
    rows: list[Row], tokenizer: PreTrainedTokenizerBase, caplog: pytest.LogCaptureFixture
) -> None:
    late = Row(id="late", source="s", messages=[{"role": "user", "content": "w " * 300}, *rows[0].messages[1:]])
    with caplog.at_level(logging.WARNING):
        data = tokenize_rows([*rows, late], tokenizer, 64)
    assert data.untrained == ("late",)
    assert data.rows == len(rows)
    assert data.truncated == sum(data.lengths == 64) > 0
    assert "late" in caplog.text
    assert "finetune.max_length=64" in caplog.text


def test_nothing_to_train_on_is_an_error(rows: list[Row], tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(TrainingDataError, match=r"none of them .* first 5 tokens .* finetune.max_length=5"):
        tokenize_rows(rows, tokenizer, 5)
    with pytest.raises(TrainingDataError, match="empty"):
        tokenize_rows([], tokenizer, 64)


def test_the_blank_row_has_no_label(rows: list[Row], tokenizer: PreTrainedTokenizerBase) -> None:
    data = tokenize_rows(rows, tokenizer, 512)
    for dataset in (data.dataset, pack(data, 160, seed=0).dataset):
        blank = with_blank_row(dataset)[len(dataset)]
        assert blank["labels"] == [IGNORED]
        assert len(blank["input_ids"]) == 1
