from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest

from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.source import PoolError, Record

COMMIT = "0123456789abcdef0123456789abcdef01234567"
POOL = FilePool(name="p", path="owner/data", split="train", subset="main", revision="v1")


def _snapshot(dataset: str, repo_type: str, revision: str, allow_patterns: list[str]) -> str:
    assert (dataset, repo_type, revision, allow_patterns) == ("owner/data", "dataset", "v1", [])
    return f"/cache/datasets--owner--data/snapshots/{COMMIT}"


def test_a_hub_data_set_is_streamed_at_the_commit_that_is_fingerprinted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(*args: Any, **options: Any) -> Any:
        asked.append((args, options))
        return iter([{"n": 0}, {"n": 1}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", _snapshot)
    place = f"owner/data@{COMMIT}:train"
    assert list(POOL.records()) == [Record({"n": 0}, place, 1), Record({"n": 1}, place, 2)]
    assert asked == [(("owner/data", "main"), {"split": "train", "revision": COMMIT, "streaming": True})]
    assert POOL.inputs() == {"hub": f"owner/data@{COMMIT}"}


def test_without_the_hub_the_cache_knows_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert POOL.inputs() == {"hub": "owner/data@v1"}
    references = tmp_path / "datasets--owner--data" / "refs"
    references.mkdir(parents=True)
    (references / "v1").write_text(COMMIT + "\n")
    assert POOL.inputs() == {"hub": f"owner/data@{COMMIT}"}


def test_a_commit_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    assert FilePool(name="p", path="owner/data", revision=COMMIT).inputs() == {"hub": f"owner/data@{COMMIT}"}


def test_a_failing_hub_is_an_error_that_says_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*args: Any, **options: Any) -> Any:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", _snapshot)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(PoolError, match=r"owner/data@\w+:train: cannot be read from the hub \(no route\).*pool.split"):
        list(POOL.records())
