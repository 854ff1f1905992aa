"""Parts of a memory-mapped file, mapped again by name."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from siftune.selection.features.runtimes.mapped_rows import UnreachableError, mapped_rows


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", np.arange(60, dtype=np.float32).reshape(20, 3))
    return tmp_path / "rows.npy"


def test_the_same_rows_are_found_by_another_process(file: Path) -> None:
    whole = np.load(file, mmap_mode="r")
    views = (whole, whole[4:], np.asarray(whole)[4:], whole[2:][2:])
    for view, first in zip(views, (0, 4, 4, 4), strict=True):
        part = mapped_rows(view, range(3, 7))
        assert part is not None
        again = pickle.loads(pickle.dumps(part)).open()
        assert again.tolist() == whole[first + 3 : first + 7].tolist()
        assert isinstance(again, np.memmap)


def test_what_is_no_part_of_a_file_is_not_taken_for_one(file: Path) -> None:
    mapped = np.load(file, mmap_mode="r")
    for array in (np.load(file), np.array(mapped), mapped[:, :2], mapped[::2], mapped[[1, 2]]):
        assert mapped_rows(array, range(2)) is None


def test_another_file_in_its_place_is_noticed(file: Path) -> None:
    part = mapped_rows(np.load(file, mmap_mode="r"), range(2))
    assert part is not None
    os.utime(file, ns=(0, 0))
    with pytest.raises(UnreachableError, match="another file"):
        part.open()
    file.unlink()
    with pytest.raises(UnreachableError, match="cannot be reached"):
        part.open()
