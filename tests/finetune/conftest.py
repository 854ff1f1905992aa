"""A tiny model and rows to train it on."""

from __future__ import annotations

from pathlib import Path

import pytest

from siftune.finetune.model_sources import ModelRef, RandomModel
from siftune.selection.pool.rows import Row, row_id


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """A two-layer model with random weights."""
    folder: Path = tmp_path_factory.mktemp("tiny")
    model = RandomModel()
    model.build(folder)
    return model.reference(folder)


def make_row(*turns: str) -> Row:
    """A conversation of alternating user and assistant turns."""
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]
    return Row(id=row_id(messages), source="test", messages=messages)


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    """21 conversations of different lengths, some with two turns."""
    made = []
    for i in range(21):
        turns = [f"What is {i} plus {i + 1}?", f"The answer is {2 * i + 1}" + " and so on" * (i % 7)]
        made.append(make_row(*turns, *(["Are you sure?", "Yes."] if i % 5 == 0 else [])))
    return made
