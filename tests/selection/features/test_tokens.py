"""Token counts, against the tokenizer's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from siftune.finetune.chat import ChatTemplateError
from siftune.finetune.tiny import byte_tokenizer
from siftune.selection.features.tokens import count_tokens
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.store import Pool, build_pool

# In the byte tokenizer with 260 tokens every byte is a token, and so are <|im_start|> and <|im_end|>.
ANSWERS = ["four", "é!", "x" * 100]


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    turns = [
        [{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}, {"role": "user", "content": "ok"}]
        for answer in ANSWERS
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"messages": messages}) for messages in turns))
    build_pool(FilePool(name="made", path=str(path)), tmp_path / "pool")
    return Pool.open(tmp_path / "pool")


def test_counts_by_hand(pool: Pool, tmp_path: Path) -> None:
    told: list[int] = []
    summary = count_tokens(pool, byte_tokenizer(260), tmp_path, 80, told.append)
    user, assistant, ok = 1 + len("user\nq") + 2, 1 + len("assistant\n"), 1 + len("user\nok") + 2
    said = [len(answer.encode()) + 1 for answer in ANSWERS]
    expected = [user + assistant + own + 1 + ok for own in said]
    assert expected[2] > 80
    np.testing.assert_array_equal(np.load(tmp_path / "num_tokens.npy"), [*expected[:2], 80])
    np.testing.assert_array_equal(np.load(tmp_path / "num_response_tokens.npy"), [*said[:2], 80 - user - assistant])
    assert np.load(tmp_path / "num_tokens.npy").dtype == np.int64
    assert (summary.rows, summary.truncated, summary.tokens) == (3, 1, sum(expected[:2]) + 80)
    assert sum(told) == 3


def test_row_that_the_template_refuses_is_named(pool: Pool, tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(260)
    tokenizer.chat_template = "{{ raise_exception('no') }}"
    with pytest.raises(ChatTemplateError, match=f"row {pool.ids[0]} "):
        count_tokens(pool, tokenizer, tmp_path, 80)
