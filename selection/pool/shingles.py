"""The shingles (runs of words) of a pool's rows, as sets of hashes in one file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siftune.selection.pool.store import Pool
from siftune.selection.pool.words import TextPart, turns, words_and_marks

ROWS_AT_ONCE = 2048
KEPT_WORDS = 1_000_000
"""Words whose hashes are remembered at a time."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class WordHashes(dict[str, int]):
    """word -> 64 bits of its BLAKE2 hash, the same in every process; remembers what it was asked."""

    def __missing__(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode("utf-8"), digest_size=8).digest()
        value = self[word] = int.from_bytes(digest, "little")
        return value

    def trim(self) -> None:
        """Forget everything once it has become much."""
        if len(self) > KEPT_WORDS:
            self.clear()


def shingles_of(hashed: np.ndarray, ngram: int) -> np.ndarray:
    """(s,) uint64 ascending, distinct: hashes of the runs of `ngram` words; of all words where they are fewer.

    `hashed` (w,) uint64: the words' hashes. 64 bits: a pair of rows with a thousand shingles each has two different
    ones with the same hash with a probability below 1e-12.
    """
    if len(hashed) == 0:
        return hashed
    length = min(ngram, len(hashed))
    count = len(hashed) - length + 1
    total = np.zeros(count, np.uint64)
    for place in range(length):
        total = total * _FACTOR + hashed[place : place + count]
    return np.unique(total)


class Counts:
    """In how many rows a hash occurs, from 64 MB whatever there is to count: never too low, and hardly ever too high.

    The smaller of two counters that a hash shares with some others (a count-min sketch: Cormode, Muthukrishnan 2005).
    """

    BITS = 23

    def __init__(self) -> None:
        self._counters = np.zeros((2, 1 << self.BITS), np.uint32)

    def add(self, hashes: np.ndarray) -> None:
        """Count one row for each of these hashes, which may repeat from row to row."""
        for counters, places in zip(self._counters, self._places(hashes), strict=True):
            found, times = np.unique(places, return_counts=True)
            counters[found] += times.astype(np.uint32)

    def of(self, hashes: np.ndarray) -> np.ndarray:
        """The counts of these hashes."""
        first, second = self._places(hashes)
        return np.minimum(self._counters[0, first], self._counters[1, second])

    def _places(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mask = np.uint64((1 << self.BITS) - 1)
        return hashes & mask, (hashes >> np.uint64(64 - self.BITS)) & mask


@dataclass
class ShingleFile:
    """Every row's shingles, one row after another."""

    path: Path
    sizes: np.ndarray
    """(n,) int64 shingles of each row."""
    common: int | None
    """Shingles in more rows than this are dropped by `batches`, but for rows that have no other."""
    counts: Counts

    def batches(self) -> Iterator[tuple[int, list[np.ndarray]]]:
        """(first row, the rows' shingles), to be taken to the end once: common ones leave the file on the way."""
        if not self.sizes.sum():
            yield from ((start, [_NONE] * len(part)) for start, part in self._parts())
            return
        every = np.memmap(self.path, np.uint64, "r+")
        read = written = 0
        for start, sizes in self._parts():
            values = np.array(every[read : read + sizes.sum()])
            read += len(values)
            rows = [self._that_count(row) for row in np.split(values, np.cumsum(sizes)[:-1])]
            self.sizes[start : start + len(rows)] = [len(row) for row in rows]
            kept = np.concatenate(rows)
            every[written : written + len(kept)] = kept
            written += len(kept)
            yield start, rows

    def _parts(self) -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, len(self.sizes), ROWS_AT_ONCE):
            yield start, self.sizes[start : start + ROWS_AT_ONCE].copy()

    def _that_count(self, row: np.ndarray) -> np.ndarray:
        if self.common is None or len(row) == 0:
            return row
        rare = row[self.counts.of(row) <= self.common]
        return rare if len(rare) else row

    def values(self) -> np.ndarray:
        """(s,) uint64, memory-mapped."""
        return np.asarray(np.memmap(self.path, np.uint64, "r")) if self.sizes.sum() else _NONE

    def offsets(self) -> np.ndarray:
        """(n + 1,) int64: row i's shingles are values()[offsets[i]:offsets[i + 1]]."""
        return np.concatenate([[0], np.cumsum(self.sizes)])


_NONE = np.zeros(0, np.uint64)


def write_shingles(
    pool: Pool, path: Path, ngram: int, part: TextPart, common: int | None, progress: Callable[[int], None]
) -> ShingleFile:
    """Read a pool's words and write its shingles to `path`; `progress` is called with the rows done."""
    sizes, counts, hashes = np.zeros(len(pool), np.int64), Counts(), WordHashes()
    with path.open("wb") as file:
        for start in range(0, len(pool), ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, len(pool))
            rows = []
            for messages in pool.conversations(start, stop):
                found = words_and_marks("\n".join(turns(messages, part)))
                rows.append(shingles_of(np.fromiter(map(hashes.__getitem__, found), np.uint64, len(found)), ngram))
            hashes.trim()
            every = np.concatenate(rows)
            counts.add(every)
            file.write(every.tobytes())
            sizes[start:stop] = [len(row) for row in rows]
            progress(stop - start)
    return ShingleFile(path, sizes, common, counts)
