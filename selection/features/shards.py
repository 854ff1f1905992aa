"""Arrays on disk that are filled shard after shard, so that a killed process goes on where it stopped.

`<name>.npy` has its full size from the first shard on. Once a shard's bytes are on disk, a marker `shards/00003.json`
with their SHA-256 is written atomically. A shard counts as there when its marker is valid and its bytes have that
checksum.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siftune.selection.files import write_whole

logger = logging.getLogger(__name__)

MARKERS = "shards"
_WAIT = 0.2


@dataclass(frozen=True)
class Block:
    """What was computed of one shard's rows."""

    arrays: Mapping[str, np.ndarray]
    """name -> (r, ...) of the shard's r rows; every shard has the same names, further shape and dtype."""
    note: Mapping[str, Any]
    """JSON: whatever is to be kept of the shard and is not an array."""


class ShardedArrays:
    """Arrays of `rows` rows in .npy files of one folder, written in shards of `shard_rows` rows."""

    def __init__(self, folder: Path, names: Sequence[str], rows: int, shard_rows: int) -> None:
        self._folder = folder
        self._names = tuple(names)
        self._size = rows
        self._shard_rows = shard_rows
        (folder / MARKERS).mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        """Number of shards."""
        return len(self.notes())

    def rows(self, shard: int) -> range:
        """The arrays' rows in the shard."""
        return self.notes().rows(shard)

    def finished(self, shard: int) -> bool:
        """Whether the shard is there and undamaged; damage is logged."""
        if not self._marker(shard).exists():
            return False
        damaged = self._damage(shard)
        if damaged is not None:
            logger.warning(
                "%s: shard %d does not match its checksum (damaged since it was written); computing it again",
                damaged,
                shard,
            )
        return damaged is None

    def write(self, shard: int, block: Block) -> None:
        """Put the shard's rows on disk, then its marker with the checksums and the note."""
        assert sorted(block.arrays) == sorted(self._names), f"shard {shard} has the arrays {', '.join(block.arrays)}"
        checksums = {name: self._write_array(name, shard, block.arrays[name]) for name in self._names}
        marker = {"rows": len(self.rows(shard)), "sha256": checksums, "note_sha256": _digest(block.note)}
        write_whole(self._marker(shard), json.dumps(marker | {"note": dict(block.note)}, ensure_ascii=False))

    def wait_for(self, shard: int) -> None:
        """Return once another process has written the shard."""
        while not self._marker(shard).exists() or self._damage(shard) is not None:
            time.sleep(_WAIT)

    def notes(self) -> Notes:
        """The notes of the shards, which must all be there."""
        return Notes(self._folder, self._size, self._shard_rows)

    def _write_array(self, name: str, shard: int, values: np.ndarray) -> str:
        data, rows = np.ascontiguousarray(values), self.rows(shard)
        assert len(data) == len(rows), f"shard {shard} of {name} has {len(data)} rows, not {len(rows)}"
        path = self._path(name)
        layout = _Layout((self._size, *data.shape[1:]), data.dtype)
        offset = layout.find(path)
        if offset is None:
            offset = layout.create(path)
        content = data.tobytes()
        with path.open("r+b") as file:
            file.seek(offset + layout.bytes_of(rows.start))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return hashlib.sha256(content).hexdigest()

    def _damage(self, shard: int) -> Path | None:
        """The file that does not have what the shard's marker says, which may be the marker itself; None: all do."""
        marker = self._marker(shard)
        try:
            noted = json.loads(marker.read_text(encoding="utf-8"))
            checksums, told = dict(noted["sha256"]), noted["rows"] == len(self.rows(shard))
            whole = noted["note_sha256"] == _digest(noted["note"])
        except (ValueError, KeyError, TypeError):
            return marker
        if not (told and whole) or sorted(checksums) != sorted(self._names):
            return marker
        wrong = (name for name in self._names if self._checksum(name, shard) != checksums[name])
        return next((self._path(name) for name in wrong), None)

    def _checksum(self, name: str, shard: int) -> str | None:
        path, rows = self._path(name), self.rows(shard)
        found = _Layout.read(path)
        if found is None or found[0].shape[:1] != (self._size,):
            return None
        layout, offset = found
        with path.open("rb") as file:
            file.seek(offset + layout.bytes_of(rows.start))
            return hashlib.sha256(file.read(layout.bytes_of(len(rows)))).hexdigest()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npy"

    def _marker(self, shard: int) -> Path:
        return marker_path(self._folder, shard)


class Notes(Sequence[Mapping[str, Any]]):
    """The notes of all shards of a folder, read when asked for."""

    def __init__(self, folder: Path, size: int, shard_rows: int) -> None:
        self._folder = folder
        self._size = size
        self._shard_rows = shard_rows
        self._shards = -(-size // shard_rows)

    def rows(self, shard: int) -> range:
        """The pool rows of a shard."""
        start = shard * self._shard_rows
        return range(start, min(start + self._shard_rows, self._size))

    def __len__(self) -> int:
        return self._shards

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._shards))]
        if not 0 <= index < self._shards:
            raise IndexError(index)
        return json.loads(marker_path(self._folder, index).read_text(encoding="utf-8"))["note"]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return (self[shard] for shard in range(self._shards))

    def sum(self, key: str) -> int:
        """Of a number that every note has."""
        return sum(int(note[key]) for note in self)


def _digest(note: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(note, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def marker_path(folder: Path, shard: int) -> Path:
    """Where the marker of a shard is."""
    return folder / MARKERS / f"{shard:05d}.json"


def layout_of(folder: Path) -> tuple[tuple[str, ...], int] | None:
    """The names of a folder's arrays and the rows of its shards, as its first marker has them; None without one."""
    try:
        marker = json.loads(marker_path(folder, 0).read_text(encoding="utf-8"))
        return tuple(marker["sha256"]), int(marker["rows"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class _Layout:
    """How an array lies in its .npy file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def read(cls, path: Path) -> tuple[_Layout, int] | None:
        """The layout of a file and where its data begins; None where it is no .npy file."""
        if not path.exists():
            return None
        with path.open("rb") as file:
            try:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, fortran, dtype = read(file)
            except ValueError:
                return None
            return None if fortran else (cls(shape, dtype), file.tell())

    def find(self, path: Path) -> int | None:
        """Where the data begins in a file of this layout; None where there is none."""
        found = self.read(path)
        return found[1] if found is not None and found[0] == self else None

    def create(self, path: Path) -> int:
        """Make the file in its full size; of several processes that do, the first wins."""
        stale = path.exists()
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        np.lib.format.open_memmap(temporary, mode="w+", dtype=self.dtype, shape=self.shape).flush()
        try:
            if stale:
                os.replace(temporary, path)
            else:
                with contextlib.suppress(FileExistsError):
                    os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        offset = self.find(path)
        assert offset is not None, f"{path} was made with another layout by another process"
        return offset

    def bytes_of(self, rows: int) -> int:
        """Bytes that so many rows take."""
        return rows * math.prod(self.shape[1:]) * self.dtype.itemsize
