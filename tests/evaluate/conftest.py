"""A tiny model whose probabilities differ from token to token, and local data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from siftune.finetune.model import load_causal_lm
from siftune.finetune.model_sources import ModelRef, RandomModel
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.source import PoolSource
from siftune.selection.pool.store import Pool, build_pool

CONVERSATIONS = [
    [("user", "List the files"), ("assistant", "ls")],
    [("user", "Count the lines of notes.txt, please"), ("assistant", "wc -l notes.txt")],
    [
        ("system", "Be brief."),
        ("user", "Sum?"),
        ("assistant", "SELECT SUM(x) FROM t;"),
        ("user", "Max?"),
        ("assistant", "höher: MAX(x)"),
    ],
    [("user", "Show the first five rows of the table"), ("assistant", "head -n 5 table.csv")],
]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """Random weights, scaled up: as initialised, all tokens would be about equally likely."""
    folder = tmp_path_factory.mktemp("tiny")
    source = RandomModel(dtype="float32")
    source.build(folder)
    model = load_causal_lm(source.reference(folder))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    model.save_pretrained(folder)
    return source.reference(folder)


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., FilePool]:
    """Write conversations to a file; the pool source that reads it."""

    def write(conversations: list[list[tuple[str, str]]], name: str = "heldout") -> FilePool:
        path = tmp_path / f"{name}.jsonl"
        rows = [
            {"messages": [{"role": r, "content": c} for r, c in turns], "source": "test"} for turns in conversations
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return FilePool(name=name, path=str(path))

    return write


@pytest.fixture
def heldout(write_rows: Callable[..., FilePool]) -> FilePool:
    """Four conversations, one of two exchanges."""
    return write_rows(CONVERSATIONS)


@pytest.fixture
def pools(tmp_path_factory: pytest.TempPathFactory) -> Callable[[PoolSource], Pool]:
    """What the runner gives to an evaluation: a source's pool, built."""

    def build(source: PoolSource) -> Pool:
        folder = tmp_path_factory.mktemp("pool")
        build_pool(source, folder)
        return Pool.open(folder)

    return build


@pytest.fixture
def local_tasks(tmp_path: Path) -> Path:
    """A folder with an arithmetic task (generated answers) and a multiple choice, and their documents."""
    sums = [
        {"question": f"What is {a} + {b}?", "answer": f"{a} and {b} make {a + b}.\n#### {a + b}"}
        for a, b in ((1, 2), (3, 4), (5, 6), (7, 8))
    ]
    choices = [
        {"q": f"Which is number {i}?", "options": ["red", "dark green", "blue"], "gold": i % 3} for i in range(6)
    ]
    for name, docs in (("sums", sums), ("sums_train", sums[:2]), ("colours", choices)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    (tmp_path / "sums.yaml").write_text(
        "task: local_sums\ndataset_path: json\ntest_split: test\ntraining_split: train\noutput_type: generate_until\n"
        'doc_to_text: "Question: {{question}}\\nAnswer:"\ndoc_to_target: "{{answer}}"\n'
        "generation_kwargs: {until: ['Question:'], do_sample: false, max_gen_toks: 8}\n"
        "filter_list:\n  - name: strict-match\n    filter:\n"
        "      - {function: regex, regex_pattern: '#### (\\d+)'}\n      - {function: take_first}\n"
        "metric_list:\n  - {metric: exact_match, aggregation: mean, higher_is_better: true}\n"
    )
    (tmp_path / "colours.yaml").write_text(
        "task: local_colours\ndataset_path: json\ntest_split: test\noutput_type: multiple_choice\nnum_fewshot: 0\n"
        'doc_to_text: "{{q}}"\ndoc_to_target: gold\ndoc_to_choice: options\n'
        "metric_list:\n  - {metric: acc, aggregation: mean, higher_is_better: true}\n"
        "  - {metric: acc_norm, aggregation: mean, higher_is_better: true}\n"
    )
    return tmp_path
