"""What a fine-tuning config refuses, and how the global batch is shared out."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from siftune.finetune.config import FinetuneConfig, LoraSettings


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"method": "full"}, ["finetune.method=full", "finetune.lora"]),
        ({"method": "full", "lora": None, "merge": True}, ["finetune.merge", "finetune.method=full"]),
        ({"lora": None}, ["finetune.method=lora", "finetune.lora"]),
        ({"epochs": 0}, ["finetune.epochs=0"]),
        ({"max_steps": 0}, ["finetune.max_steps=0"]),
        ({"global_batch_size": 0}, ["finetune.global_batch_size=0"]),
        ({"learning_rate": 0.0}, ["finetune.learning_rate=0.0"]),
        ({"warmup_ratio": 1.0}, ["finetune.warmup_ratio=1.0"]),
        ({"keep_checkpoints": -1}, ["finetune.keep_checkpoints=-1"]),
    ],
)
def test_impossible_settings_are_refused_by_name(given: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValueError, match=re.escape(named[0])) as error:
        FinetuneConfig(**given)
    assert all(name in str(error.value) for name in named)


@pytest.mark.parametrize(
    "given", [{"rank": 0}, {"alpha": 0}, {"dropout": 1.0}, {"dropout": -0.1}, {"target_modules": ()}]
)
def test_impossible_adapters_are_refused_by_name(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(ValueError, match=f"finetune.lora.{name}="):
        LoraSettings(**given)


@pytest.mark.parametrize(
    ("global_batch", "limit", "processes", "expected"),
    [(16, 8, 1, 8), (16, 8, 4, 4), (4, 8, 1, 4), (12, 8, 1, 6), (128, 8, 16, 8), (7, 3, 1, 1), (1, 8, 1, 1)],
)
def test_micro_batches_divide_the_share_of_a_process(
    global_batch: int, limit: int, processes: int, expected: int
) -> None:
    config = FinetuneConfig(global_batch_size=global_batch, micro_batch_size=limit)
    assert config.micro_batch(processes) == expected


def test_a_global_batch_that_processes_cannot_share_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"global_batch_size=16 cannot be shared by 3 processes"):
        FinetuneConfig(global_batch_size=16).micro_batch(3)


def test_only_what_leaves_the_result_alone_is_kept_out_of_the_identity() -> None:
    out = {field.name for field in dataclasses.fields(FinetuneConfig) if not field.metadata.get("identity", True)}
    assert out == {"micro_batch_size", "gradient_checkpointing", "save_steps", "keep_checkpoints"}
