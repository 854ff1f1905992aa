"""The sharded driver: order, resuming, damage, and processes killed at any moment."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from siftune.selection.features.embedding import embed
from siftune.selection.features.encoder import EncodedBlock, Progress
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool, build_pool

ROWS = 1100  # two full shards of 512 and a short one


class Digests:
    """An encoder whose vectors are made of the row's id; it notes what it was asked for."""

    dimension = 4

    def __init__(self) -> None:
        self.calls: list[int] = []

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
    summary = embed(pool, Digests(), tmp_path, told.append)
    array = np.load(tmp_path / "embeddings.npy", mmap_mode="r")
    assert array.dtype == np.float32
    assert np.array_equal(array, np.stack([expected(row_id) for row_id in pool.ids]))
    assert told == [512, 512, 76]
    assert (summary.rows, summary.dimension, summary.truncated, summary.tokens) == (ROWS, 4, 3, 240)
    assert summary.padding_share == pytest.approx(0.2)


def test_finished_shards_are_not_computed_again(pool: Pool, tmp_path: Path) -> None:
    first = embed(pool, Digests(), tmp_path)
    before = (tmp_path / "embeddings.npy").read_bytes()
    (tmp_path / "shards" / "00001.json").unlink()
    again, told = Digests(), []
    second = embed(pool, again, tmp_path, told.append)
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
    embed(pool, Digests(), tmp_path)
    before = (tmp_path / "embeddings.npy").read_bytes()
    damage(tmp_path / "embeddings.npy")  # type: ignore[operator]
    again = Digests()
    with caplog.at_level(logging.WARNING):
        embed(pool, again, tmp_path)
    assert again.calls == [76]
    assert "shard 2 does not match its checksum" in caplog.text
    assert (tmp_path / "embeddings.npy").read_bytes() == before


@pytest.mark.parametrize("content", ["", '{"rows": 512', '{"rows": 512}', '{"rows": 3, "sha256": "x"}', "[]"])
def test_marker_that_makes_no_sense_is_not_believed(pool: Pool, tmp_path: Path, content: str) -> None:
    embed(pool, Digests(), tmp_path)
    (tmp_path / "shards" / "00000.json").write_text(content)
    again = Digests()
    embed(pool, again, tmp_path)
    assert again.calls == [512]


def test_array_of_another_shape_is_written_anew(pool: Pool, tmp_path: Path) -> None:
    np.save(tmp_path / "embeddings.npy", np.zeros((3, 4), dtype=np.float32))
    embed(pool, Digests(), tmp_path)
    assert np.load(tmp_path / "embeddings.npy").shape == (ROWS, 4)


KILLED = """
import os, signal, sys, time
from pathlib import Path
import torch
from siftune.finetune.model_sources import RandomModel
from siftune.selection.features import embedding
from siftune.selection.features.causal_lm import CausalLMEncoder
from siftune.selection.pool.store import Pool

root, disturbed, undisturbed = map(Path, sys.argv[1:4])
embedding.SHARD_ROWS = 32
torch.set_num_threads(1)
model = RandomModel()
model.build(root / "model")
# Opened once: the children begin with a copy of it, and the test does not spend its time on imports.
encoder = CausalLMEncoder(name="tiny", model=model).open(model.reference(root / "model"))

def run(folder):
    folder.mkdir(exist_ok=True)
    embedding.embed(Pool.open(root / "pool"), encoder, folder)

def markers():
    return {path.name: path.stat().st_mtime_ns for path in (disturbed / "shards").glob("*.json")}

def start():
    child = os.fork()
    if child == 0:
        run(disturbed)
        os._exit(0)
    return child

kept = {}
for i, delay in enumerate((0.0, 0.003, 0.011, 0.017, 0.029)):
    child = start()
    while len(markers()) < 2 * i + 1:
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "it finished before it was killed"
    now = markers()
    assert kept.items() <= now.items(), "a finished shard was computed again"
    kept = now
assert os.waitpid(start(), 0)[1] == 0
assert kept.items() <= markers().items(), "a finished shard was computed again"
run(undisturbed)
print(len(kept), len(markers()))
"""


def test_process_killed_again_and_again_ends_with_the_same_bytes(tmp_path: Path) -> None:
    make_pool(tmp_path / "made", 800)
    folders = tmp_path / "disturbed", tmp_path / "undisturbed"
    command = [sys.executable, "-c", KILLED, str(tmp_path / "made"), *map(str, folders)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    kept, total = map(int, done.stdout.split())
    assert 9 <= kept < total == 25
    first, second = ((folder / "embeddings.npy").read_bytes() for folder in folders)
    assert first == second
