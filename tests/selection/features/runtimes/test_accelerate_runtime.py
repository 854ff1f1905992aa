"""Two processes of a launch fill one folder: each its own shards, the bytes of one process alone."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.mapping import map_rows
from siftune.selection.features.runtimes.accelerate_runtime import AccelerateRuntime
from siftune.selection.features.shards import Block
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool, build_pool

SHARDS = 5


@dataclass(frozen=True)
class Numbers:
    """A job whose vectors are the rows' own numbers; it notes who computed what."""

    names: ClassVar[tuple[str, ...]] = ("numbers",)

    log: Path

    def open(self) -> Numbers:
        return self

    def prepare(self, rows: Sequence[Row]) -> None:
        return None

    def compute(self, rows: Sequence[Row], prepared: Any, progress: Progress) -> Block:
        numbers = np.array([int(row.messages[0]["content"].split()[1]) for row in rows], dtype=np.float32)
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{os.environ.get('RANK')} {int(numbers[0]) // 4}\n")
        progress(len(rows))
        return Block({"numbers": numbers}, {"first": int(numbers[0])})


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    turns = (
        '{{"messages": [{{"role": "user", "content": "question {}"}}, {{"role": "assistant", "content": "yes"}}]}}\n'
    )
    (tmp_path / "rows.jsonl").write_text("".join(turns.format(i) for i in range(4 * SHARDS - 1)))
    build_pool(FilePool(name="made", path=str(tmp_path / "rows.jsonl")), tmp_path / "pool")
    return Pool.open(tmp_path / "pool")


def as_rank(rank: int, pool: Pool, folder: Path, log: Path) -> None:
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank)}
    told: list[int] = []
    notes = map_rows(pool, Numbers(log), folder, AccelerateRuntime(), told.append, shard_rows=4)
    assert [note["first"] for note in notes] == [4 * shard for shard in range(SHARDS)]
    assert sum(told) == len(pool)


def together(pool: Pool, folder: Path, log: Path) -> dict[int, str]:
    """Run both ranks; returns shard -> rank that computed it."""
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=as_rank, args=(rank, pool, folder, log)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len({shard for _, shard in lines}) == len(lines), "a shard was computed twice"
    return {int(shard): rank for rank, shard in lines}


def test_each_process_computes_its_shards(pool: Pool, tmp_path: Path) -> None:
    computed = together(pool, tmp_path / "both", tmp_path / "log")
    assert computed == {shard: str(shard % 2) for shard in range(SHARDS)}
    map_rows(pool, Numbers(tmp_path / "alone"), tmp_path / "one", shard_rows=4)
    assert (tmp_path / "both" / "numbers.npy").read_bytes() == (tmp_path / "one" / "numbers.npy").read_bytes()


def test_what_is_there_already_is_kept_and_damage_is_mended(pool: Pool, tmp_path: Path) -> None:
    map_rows(pool, Numbers(tmp_path / "alone"), tmp_path / "both", shard_rows=4)
    whole = (tmp_path / "both" / "numbers.npy").read_bytes()
    with (tmp_path / "both" / "numbers.npy").open("r+b") as file:
        file.seek(len(whole) - 4)
        file.write(b"\0\0\0\0")
    (tmp_path / "both" / "shards" / "00001.json").unlink()
    assert together(pool, tmp_path / "both", tmp_path / "log") == {1: "1", SHARDS - 1: "0"}
    assert (tmp_path / "both" / "numbers.npy").read_bytes() == whole


def test_one_process_alone_is_told_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ValueError, match="accelerate launch --multi_gpu --num_processes"):
        AccelerateRuntime().check()
