"""The sharded driver: order, resuming, damage, and processes killed at any moment."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from siftune.selection.features.encoders.embedding import embed
from siftune.selection.features.encoders.encoder import EncodedBlock, Progress
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool, build_pool

ROWS = 1100  # two full shards of 512 and a short one


class Digests:
    """An encoder whose vectors are made of the row's id; it notes what it was asked for."""

    dimension = 4

    def __init__(self) -> None:
        self.calls: list[int] = []

    def open(self, reference: object) -> Digests:
        return self

    def encode(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> EncodedBlock:
        self.calls.append(len(rows))
        progress(len(rows))
        return EncodedBlock(np.stack([expected(row.id) for row in rows]), truncated=1, tokens=80, positions=100)


def expected(row_id: str) -> np.ndarray:
    """The vector of a row."""
    return np.frombuffer(hashlib.sha256(row_id.encode()).digest()[:4], dtype=np.uint8).astype(np.float32)


def make_pool(folder: Path, size: int) -> Pool:
    folder.mkdir()
    lines = []
    for i in range(size):
        answer = "the answer is to sort the list by name " * (1 + i * 7919 % 23)
        turns = [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"messages": turns}))
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    build_pool(FilePool(name="made", path=str(folder / "rows.jsonl")), folder / "pool")
    return Pool.open(folder / "pool")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("rows") / "made", ROWS)


def test_row_i_is_pool_row_i(pool: Pool, tmp_path: Path) -> None:
    told: list[int] = []
    summary = embed(pool, Digests(), None, tmp_path, told.append)
    array = np.load(tmp_path / "embeddings.npy", mmap_mode="r")
    assert array.dtype == np.float32
    assert np.array_equal(array, np.stack([expected(row_id) for row_id in pool.ids]))
    assert told == [512, 512, 76]
    assert (summary.usage, summary.seconds > 0) == ({}, True)
    assert (summary.rows, summary.dimension, summary.truncated, summary.tokens) == (ROWS, 4, 3, 240)
    assert summary.padding_share == pytest.approx(0.2)


def test_finished_shards_are_not_computed_again(pool: Pool, tmp_path: Path) -> None:
    first = embed(pool, Digests(), None, tmp_path)
    before = (tmp_path / "embeddings.npy").read_bytes()
    (tmp_path / "shards" / "00001.json").unlink()
    again, told = Digests(), []
    second = embed(pool, again, None, tmp_path, told.append)
    assert again.calls == [512]
    assert sum(told) == ROWS
    assert (tmp_path / "embeddings.npy").read_bytes() == before
    assert (second.tokens, second.truncated, second.padding_share) == (
        first.tokens,
        first.truncated,
        first.padding_share,
    )


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 400)


@pytest.mark.parametrize("damage", [_flip, _truncate])
def test_damaged_shard_is_noticed_and_computed_again(
    pool: Pool, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    embed(pool, Digests(), None, tmp_path)
    before = (tmp_path / "embeddings.npy").read_bytes()
    damage(tmp_path / "embeddings.npy")  # type: ignore[operator]
    again = Digests()
    with caplog.at_level(logging.WARNING):
        embed(pool, again, None, tmp_path)
    assert again.calls == [76]
    assert "shard 2 does not match its checksum" in caplog.text
    assert (tmp_path / "embeddings.npy").read_bytes() == before


@pytest.mark.parametrize("content", ["", '{"rows": 512', '{"rows": 512}', '{"rows": 3, "sha256": "x"}', "[]"])
def test_marker_that_makes_no_sense_is_not_believed(pool: Pool, tmp_path: Path, content: str) -> None:
    embed(pool, Digests(), None, tmp_path)
    (tmp_path / "shards" / "00000.json").write_text(content)
    again = Digests()
    embed(pool, again, None, tmp_path)
    assert again.calls == [512]


def test_note_that_was_changed_is_not_believed(pool: Pool, tmp_path: Path) -> None:
    embed(pool, Digests(), None, tmp_path)
    marker = tmp_path / "shards" / "00001.json"
    marker.write_text(marker.read_text().replace('"tokens": 80', '"tokens": 81'))
    again = Digests()
    assert embed(pool, again, None, tmp_path).tokens == 240
    assert again.calls == [512]


def test_array_of_another_shape_is_written_anew(pool: Pool, tmp_path: Path) -> None:
    np.save(tmp_path / "embeddings.npy", np.zeros((3, 4), dtype=np.float32))
    embed(pool, Digests(), None, tmp_path)
    assert np.load(tmp_path / "embeddings.npy").shape == (ROWS, 4)


def test_vectors_are_stored_in_half_precision_where_asked(pool: Pool, tmp_path: Path) -> None:
    encoder = Digests()
    encoder.storage = "float16"  # type: ignore[attr-defined]
    embed(pool, encoder, None, tmp_path)
    array = np.load(tmp_path / "embeddings.npy", mmap_mode="r")
    assert array.dtype == np.float16
    assert np.array_equal(array, np.stack([expected(row_id) for row_id in pool.ids]))


class TooLarge(Digests):
    """An encoder one of whose vectors exceeds what float16 holds."""

    storage = "float16"
    value = 1e5

    def encode(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> EncodedBlock:
        block = super().encode(rows, progress)
        block.vectors[7, 2] = self.value
        return block


class NotANumber(TooLarge):
    storage = "float32"
    value = float("nan")


@pytest.mark.parametrize(("encoder", "remedy"), [(TooLarge(), "storage=float32"), (NotANumber(), "dtype=float32")])
def test_vector_that_cannot_be_stored_names_its_row(pool: Pool, tmp_path: Path, encoder: Digests, remedy: str) -> None:
    with pytest.raises(ValueError, match=f"row {pool.ids[7]}.*{remedy}"):
        embed(pool, encoder, None, tmp_path)


def test_model_is_not_loaded_when_every_shard_is_there(pool: Pool, tmp_path: Path) -> None:
    embed(pool, Digests(), None, tmp_path)

    class Unloadable(Digests):
        def open(self, reference: object) -> Digests:
            raise AssertionError("loaded")

    embed(pool, Unloadable(), None, tmp_path)


class TwoStaged(Digests):
    """An encoder that prepares in one thread what it encodes in another; it notes the order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.encoding = threading.Event()

    def prepare(self, rows: Sequence[Row]) -> Sequence[Row]:
        if self.events:
            # Only a second thread can come here while the shard before is being encoded.
            assert self.encoding.wait(timeout=60)
        self.events.append(f"prepare {len(rows)}")
        return rows

    def encode_prepared(self, prepared: Sequence[Row], progress: Progress) -> EncodedBlock:
        self.encoding.set()
        while len([event for event in self.events if event.startswith("prepare")]) < min(len(self.calls) + 2, 3):
            time.sleep(0.001)
        return self.encode(prepared, progress)


def test_rows_of_the_next_shard_are_prepared_while_one_is_encoded(pool: Pool, tmp_path: Path) -> None:
    encoder = TwoStaged()
    embed(pool, encoder, None, tmp_path)
    assert encoder.events == ["prepare 512", "prepare 512", "prepare 76"]
    array = np.load(tmp_path / "embeddings.npy", mmap_mode="r")
    assert np.array_equal(array, np.stack([expected(row_id) for row_id in pool.ids]))
