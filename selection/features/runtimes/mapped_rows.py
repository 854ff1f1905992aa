"""Rows of an array file that is memory-mapped, named so that another process can map them too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


class UnreachableError(OSError):
    """The file is not there, or it is not the same file."""


@dataclass(frozen=True)
class MappedRows:
    """Rows that lie side by side in a file."""

    path: str
    """Absolute."""
    size: int
    modified: int
    """Size in bytes and time in nanoseconds of the file: what else lies at its path is another file."""
    offset: int
    """Bytes before the first row."""
    shape: tuple[int, ...]
    dtype: str

    def open(self) -> np.ndarray:
        """The rows, memory-mapped; UnreachableError where the file is not there."""
        try:
            found = Path(self.path).stat()
        except OSError as error:
            raise UnreachableError(f"{self.path} cannot be reached") from error
        if (found.st_size, found.st_mtime_ns) != (self.size, self.modified):
            raise UnreachableError(f"{self.path} is another file")
        return np.memmap(self.path, mode="r", dtype=self.dtype, shape=self.shape, offset=self.offset)


def mapped_rows(array: np.ndarray, rows: range) -> MappedRows | None:
    """The rows of an array as those of the file that it maps; None for an array that lies in memory."""
    owner = _mapping(array)
    if owner is None or owner.filename is None or not array.flags.c_contiguous:
        return None
    part = array[rows.start : rows.stop]
    start = owner.offset + part.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    path = Path(owner.filename).absolute()
    found = path.stat()
    return MappedRows(str(path), found.st_size, found.st_mtime_ns, start, part.shape, part.dtype.str)


def _mapping(array: np.ndarray) -> np.memmap | None:
    """The memory map that an array is a view of."""
    owner: np.memmap | None = None
    base: object = array
    while isinstance(base, np.ndarray):
        owner = base if isinstance(base, np.memmap) else owner
        base = base.base
    return owner
