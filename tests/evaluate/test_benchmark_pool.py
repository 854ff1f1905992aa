"""Documents of a benchmark as rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from siftune.evaluate.benchmark_pool import BenchmarkPool
from siftune.evaluate.tasks import EvaluationError
from siftune.selection.pool.source import PoolSource
from siftune.selection.pool.store import Pool

Pools = Callable[[PoolSource], Pool]


def test_training_documents_become_prompt_and_answer(local_tasks: Path, pools: Pools) -> None:
    source = BenchmarkPool(
        name="queries",
        task=str(local_tasks / "sums.yaml"),
        split="train",
        data_files={"test": str(local_tasks / "sums.jsonl"), "train": str(local_tasks / "sums_train.jsonl")},
    )
    rows = list(pools(source).rows(range(2)))
    assert rows[1].messages == [
        {"role": "user", "content": "Question: What is 3 + 4?\nAnswer:"},
        {"role": "assistant", "content": "3 and 4 make 7.\n#### 7"},
    ]
    assert {row.source for row in rows} == {"local_sums"}


def test_the_answer_of_a_multiple_choice_is_its_text_and_rows_are_sliced(local_tasks: Path, pools: Pools) -> None:
    source = BenchmarkPool(
        name="queries",
        task=str(local_tasks / "colours.yaml"),
        split="test",
        data_files={"test": str(local_tasks / "colours.jsonl")},
        rows="1:4",
    )
    pool = pools(source)
    assert [row.response() for row in pool.rows(range(len(pool)))] == ["dark green", "blue", "red"]


def test_inputs_follow_the_content(local_tasks: Path) -> None:
    files = {"test": str(local_tasks / "colours.jsonl")}
    source = BenchmarkPool(name="q", task=str(local_tasks / "colours.yaml"), split="test", data_files=files)
    before = source.inputs()
    assert set(before) == {"task", "data_files.test"}
    (local_tasks / "colours.jsonl").write_text("{}\n")
    assert source.inputs()["task"] == before["task"]
    assert source.inputs()["data_files.test"] != before["data_files.test"]


def test_a_split_that_the_task_lacks_is_refused(local_tasks: Path) -> None:
    files = {"test": str(local_tasks / "colours.jsonl")}
    source = BenchmarkPool(name="q", task=str(local_tasks / "colours.yaml"), split="train", data_files=files)
    with pytest.raises(EvaluationError, match="no split 'train', it has test"):
        list(source.records())


def test_the_examples_of_gsm8k_are_the_eight_queries_of_rds_plus(local_tasks: Path, pools: Pools) -> None:
    """lm-eval's chain-of-thought task carries them in its definition: no training file is needed."""
    source = BenchmarkPool(name="gsm8k", task="gsm8k_cot", data_files={"test": str(local_tasks / "sums.jsonl")})
    pool = pools(source)
    assert len(pool) == 8
    assert pool.row(0).messages[0]["content"].startswith("Q: There are 15 trees in the grove.")
    assert pool.row(0).response().endswith("The answer is 6.")
