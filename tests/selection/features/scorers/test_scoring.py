"""The sharded driver of scorers: order, reasons, resuming and damage."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from siftune.finetune.model_sources import RandomModel
from siftune.selection.features import mapping
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.scorers.losses import LossScorer
from siftune.selection.features.scorers.scorer import ScoredBlock
from siftune.selection.features.scorers.scoring import score
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool, build_pool

ROWS = 1100  # two full shards of 512 and a short one


class Digests:
    """A scorer whose two values are made of the row's id; ids that end in 0 have no second one."""

    provides = ("first", "second")

    def __init__(self, fail_at: int | None = None) -> None:
        self.calls: list[int] = []
        self._fail_at = fail_at

    def open(self, reference: object) -> Digests:
        return self

    def score(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> ScoredBlock:
        if len(self.calls) == self._fail_at:
            raise RuntimeError("out of memory")
        self.calls.append(len(rows))
        progress(len(rows))
        reasons = {i: "ends in 0" for i, row in enumerate(rows) if row.id.endswith("0")}
        return ScoredBlock(np.stack([expected(row.id) for row in rows]), reasons, truncated=1, tokens=80, positions=100)


def expected(row_id: str) -> np.ndarray:
    """The values of a row."""
    first, second = np.frombuffer(hashlib.sha256(row_id.encode()).digest()[:2], dtype=np.uint8) / 7
    return np.array([first, np.nan if row_id.endswith("0") else second])


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


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("first.npy", "second.npy", "reasons.jsonl")]


def test_row_i_is_pool_row_i_and_what_is_missing_is_said(pool: Pool, tmp_path: Path) -> None:
    told: list[int] = []
    summary = score(pool, Digests(), None, tmp_path, told.append)
    values = np.stack([expected(row_id) for row_id in pool.ids])
    for name, column in zip(Digests.provides, values.T, strict=True):
        array = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, column)
    without = [row_id for row_id in pool.ids if row_id.endswith("0")]
    lines = [json.loads(line) for line in (tmp_path / "reasons.jsonl").read_text().splitlines()]
    assert lines == [{"id": row_id, "why": "ends in 0"} for row_id in without]
    assert told == [512, 512, 76]
    assert (summary.rows, summary.scores, summary.without_value) == (ROWS, ("first", "second"), len(without))
    assert (summary.truncated, summary.tokens) == (3, 240)
    assert summary.padding_share == pytest.approx(0.2)


def test_interrupted_scoring_goes_on_with_the_shard_it_lost(pool: Pool, tmp_path: Path) -> None:
    score(pool, Digests(), None, tmp_path / "undisturbed")
    folder = tmp_path / "disturbed"
    with pytest.raises(RuntimeError, match="out of memory"):
        score(pool, Digests(fail_at=1), None, folder)
    again, told = Digests(), []
    summary = score(pool, again, None, folder, told.append)
    assert again.calls == [512, 76]
    assert sum(told) == ROWS
    assert contents(folder) == contents(tmp_path / "undisturbed")
    assert (summary.tokens, summary.truncated) == (240, 3)


def test_shard_whose_marker_lacks_an_array_is_computed_again(pool: Pool, tmp_path: Path) -> None:
    score(pool, Digests(), None, tmp_path)
    before = contents(tmp_path)
    marker = tmp_path / "shards" / "00002.json"
    noted = json.loads(marker.read_text())
    del noted["sha256"]["second"]
    marker.write_text(json.dumps(noted))
    again = Digests()
    score(pool, again, None, tmp_path)
    assert again.calls == [76]
    assert contents(tmp_path) == before


def test_damaged_shard_is_noticed_and_computed_again(
    pool: Pool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    score(pool, Digests(), None, tmp_path)
    before = contents(tmp_path)
    damaged = bytearray(before[1])
    damaged[-20] ^= 1
    (tmp_path / "second.npy").write_bytes(damaged)
    again = Digests()
    with caplog.at_level(logging.WARNING):
        score(pool, again, None, tmp_path)
    assert again.calls == [76]
    assert "second.npy: shard 2 does not match its checksum" in caplog.text
    assert contents(tmp_path) == before


def test_model_computes_a_lost_shard_to_the_same_bytes(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "SHARD_ROWS", 64)
    model = RandomModel()
    model.build(tmp_path / "model")
    scorer, reference = LossScorer(name="tiny", model=model, max_length=60), model.reference(tmp_path / "model")
    some, folder = make_pool(tmp_path / "some", 200), tmp_path / "scores"
    first = score(some, scorer, reference, folder)
    before = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    assert sorted(before) == sorted([*(f"{name}.npy" for name in scorer.provides), "reasons.jsonl"])
    (folder / "shards" / "00001.json").unlink()
    (folder / "reasons.jsonl").unlink()
    second = score(some, scorer, reference, folder)
    assert {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()} == before
    assert (second.tokens, second.truncated) == (first.tokens, first.truncated)
    assert first.truncated > 0
