"""Only checkpoints that were written to their end are resumed from."""

from __future__ import annotations

from pathlib import Path

import pytest

from siftune.finetune.checkpoints import MARKER, is_complete, last_complete, mark_complete, prune


def write(folder: Path, step: int, *, complete: bool = True) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    (checkpoint / "sub").mkdir(parents=True)
    (checkpoint / "weights").write_bytes(b"w" * step)
    (checkpoint / "sub" / "state").write_bytes(b"s")
    if complete:
        mark_complete(checkpoint)
    return checkpoint


def test_the_last_complete_one_is_found_by_number(tmp_path: Path) -> None:
    write(tmp_path, 9)
    last = write(tmp_path, 10)
    write(tmp_path, 11, complete=False)
    assert last_complete(tmp_path) == last


@pytest.mark.parametrize("damage", ["truncated", "missing", "marker half-written"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    good, bad = write(tmp_path, 1), write(tmp_path, 2)
    if damage == "truncated":
        (bad / "weights").write_bytes(b"w")
    elif damage == "missing":
        (bad / "sub" / "state").unlink()
    else:
        (bad / MARKER).write_text('{"sizes": {"wei')
    assert last_complete(tmp_path) == good
    assert "checkpoint-2" in caplog.text


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert last_complete(tmp_path / "absent") is None


def test_pruning_keeps_the_last_complete_ones(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write(tmp_path, step)
    write(tmp_path, 4, complete=False)
    prune(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2", "checkpoint-3"]
    assert all(is_complete(path) for path in tmp_path.iterdir())
    prune(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []
