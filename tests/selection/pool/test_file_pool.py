from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.source import PoolError
from siftune.selection.pool.store import Pool, build_pool


def _row(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text.upper()}]}


def _write(path: Path, *texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(_row(text)) + "\n" for text in texts))
    return path


def _read(path: Path | str, **options: Any) -> list[str]:
    return [
        record.value["messages"][0]["content"] for record in FilePool(name="p", path=str(path), **options).records()
    ]


def test_a_folder_and_a_glob_are_read_in_the_order_of_paths(tmp_path: Path) -> None:
    _write(tmp_path / "data/b.jsonl", "b")
    _write(tmp_path / "data/a/z.jsonl", "a/z")
    _write(tmp_path / "data/.cache/c.jsonl", "hidden")
    (tmp_path / "data/README.md").write_text("no data")
    assert _read(tmp_path / "data") == ["a/z", "b"]
    assert _read(tmp_path / "data/*.jsonl") == ["b"]
    assert _read(tmp_path / "data/**/*.jsonl") == ["a/z", "b"]


def test_the_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _write(tmp_path / "rows.jsonl", "a")
    assert _read("~/rows.jsonl") == ["a"]


def test_a_folder_that_datasets_wrote(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    dataset = Dataset.from_list([_row(str(index)) for index in range(25)])
    dataset.save_to_disk(str(tmp_path / "one"), num_shards=3)
    assert _read(tmp_path / "one") == [str(index) for index in range(25)]
    DatasetDict(train=dataset.select(range(5, 20)), test=dataset.select([24, 3])).save_to_disk(str(tmp_path / "two"))
    assert _read(tmp_path / "two") == [str(index) for index in range(5, 20)]
    assert _read(tmp_path / "two", split="test") == ["24", "3"]
    with pytest.raises(PoolError, match=r"no split 'dev' \(pool.split\); it has train, test"):
        _read(tmp_path / "two", split="dev")


def test_inputs_follow_the_contents_and_not_the_paths(tmp_path: Path) -> None:
    first, second = _write(tmp_path / "x/a.jsonl", "a"), _write(tmp_path / "x/b.jsonl", "b")
    inputs = FilePool(name="p", path=str(tmp_path / "x")).inputs()
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second)]
    assert inputs == {"file-00000": digests[0], "file-00001": digests[1]}
    (tmp_path / "x").rename(tmp_path / "y")
    assert FilePool(name="q", path=str(tmp_path / "y")).inputs() == inputs
    _write(tmp_path / "y/b.jsonl", "c")
    assert FilePool(name="q", path=str(tmp_path / "y")).inputs() != inputs


@pytest.mark.parametrize("path", ["nothing/at/all.jsonl", "here.jsonl", "*.jsonl", "./data/pool"])
def test_a_path_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PoolError, match=r"pool.path=.*: there is no such file, folder, glob or hub id"):
        _read(path)


def test_a_folder_without_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="the folder holds no data file"):
        _read(tmp_path)


def test_a_bad_row_names_its_own_file(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", "a", "b")
    (tmp_path / "b.jsonl").write_text(json.dumps(_row("c")) + '\n{"messages": []}\n')
    with pytest.raises(PoolError, match=r"b.jsonl, line 2: messages is empty.*pool.on_bad_row=quarantine"):
        build_pool(FilePool(name="p", path=str(tmp_path)), tmp_path / "pool")


def test_a_slice_reads_no_further(tmp_path: Path) -> None:
    path = _write(tmp_path / "rows.jsonl", "a", "b", "c")
    path.write_text(path.read_text() + "broken")
    summary = build_pool(FilePool(name="p", path=str(path), rows="1:3"), tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    assert [row.response() for row in pool.rows(range(len(pool)))] == ["B", "C"]
    assert summary.read == 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"rows": "16"}, r"pool.rows='16' must be a slice such as \"0:16\""),
        ({"rows": "-16:"}, "must be a slice"),
        ({"rows": "5:5"}, "holds no row"),
        ({"sample": 0}, "pool.sample=0 must be at least 1"),
        ({"sample_seed": -1}, "pool.sample_seed=-1"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        FilePool(name="p", path="x", **options)
