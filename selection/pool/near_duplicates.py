"""Near-duplicate rows of a pool, found by MinHash and decided by the exact overlap of their shingles.

The shingles of a row are its runs of `ngram` words (Broder 1997, "On the resemblance and containment of documents");
two rows are near-duplicates when the Jaccard similarity of their sets of shingles is at least `similarity`. MinHash
with locality-sensitive hashing (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4) only proposes pairs:
no row is removed on an estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siftune.selection.pool.shingles import ROWS_AT_ONCE, ShingleFile, write_shingles
from siftune.selection.pool.store import Pool
from siftune.selection.pool.words import TextPart

Progress = Callable[[int], None]
"""Called with the number of rows done since the last call."""

RECALL = 0.95
"""Of pairs that are just as similar as `similarity`, at least this share is proposed; of more similar ones, more."""
SEED = 1
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """Of rows that say nearly the same, the first stays."""

    similarity: float = 0.8
    """Rows whose Jaccard similarity to an earlier row is at least this are removed. 0.8 with 5-grams is what Lee et al.
    (2022, arXiv:2107.06499, section 4.2) take for documents; 1 removes only rows with the same set of shingles."""
    ngram: int = 5
    """Words (and punctuation marks) of a shingle; a shorter row is one shingle. Lee et al. take 5."""
    common: int | None = 100
    """A shingle in more rows than this is a template's wording and does not count, unless a row has no other: rows that
    share a long system prompt are not copies of one another. Null: all shingles count."""
    text: TextPart = "conversation"
    """What is compared: the whole conversation, the turns before the final response ("prompt": rows that ask the same,
    whatever the answer), or that response."""
    num_permutations: int = 128
    """Length of the MinHash signatures: more cost time and find more of the pairs near the threshold."""

    def __post_init__(self) -> None:
        if not 0 < self.similarity <= 1:
            raise ValueError(f"near_duplicates.similarity={self.similarity} must lie above 0 and be at most 1")
        for name in ("ngram", "num_permutations"):
            if getattr(self, name) < 1:
                raise ValueError(f"near_duplicates.{name}={getattr(self, name)} must be at least 1")
        if self.common is not None and self.common < 1:
            raise ValueError(f"near_duplicates.common={self.common} must be at least 1, or null: all shingles count")
        if self.bands() is None:
            raise ValueError(
                f"near_duplicates.num_permutations={self.num_permutations} cannot find {RECALL:.0%} of the pairs with "
                f"similarity={self.similarity}: raise one of them"
            )

    def bands(self) -> tuple[int, int] | None:
        """(bands, values a band): the longest bands that propose RECALL of the pairs at the threshold; None: none do.

        A pair of similarity s shares one of b bands of r values with the probability 1 - (1 - s^r)^b.
        """
        for values in range(self.num_permutations, 0, -1):
            count = self.num_permutations // values
            if 1 - (1 - self.similarity**values) ** count >= RECALL:
                return count, values
        return None


@dataclass(frozen=True)
class Copies:
    """Which rows say nearly the same as an earlier one that stays."""

    copy_of: np.ndarray
    """(n,) int32 the kept row that a row is a copy of, -1 where the row itself is kept."""
    similarity: np.ndarray
    """(n,) float64 Jaccard similarity to that row; 0 where a row is kept."""
    compared: int
    """Pairs that were compared exactly."""


def find_near_duplicates(
    pool: Pool, config: NearDuplicates, folder: Path, progress: Progress = lambda rows: None
) -> Copies:
    """Go through the pool in its order: a row stays unless it is a near-duplicate of an earlier row that stays.

    In memory about 350 bytes a row (18 bands, the default's) and 64 MB for the counts of shingles. The shingles lie in
    a file in `folder`, 8 bytes a word, removed at the end. `progress` counts every row twice: when its words are read,
    and when its signature is taken; deciding takes little.
    """
    path = folder / "shingles.partial"
    try:
        shingles = write_shingles(pool, path, config.ngram, config.text, config.common, progress)
        keys = _keys(shingles, config, progress)
        return _decide(shingles, keys, config.similarity)
    finally:
        path.unlink(missing_ok=True)


def _keys(shingles: ShingleFile, config: NearDuplicates, progress: Progress) -> np.ndarray:
    """(n, b) uint64, one key a band; shingles that do not count are dropped on the way."""
    bands = config.bands()
    assert bands is not None, "refused by the config"
    keys = np.zeros((len(shingles.sizes), bands[0]), np.uint64)
    for start, rows in shingles.batches():
        keys[start : start + len(rows)] = band_keys(rows, config.num_permutations, *bands)
        progress(len(rows))
    return keys


def band_keys(rows: list[np.ndarray], num_permutations: int, bands: int, values: int) -> np.ndarray:
    """(rows, bands) uint64: rows share a key where their MinHash signatures agree in all values of a band."""
    from datasketch import MinHash

    # The shingles are hashes already: their upper halves are what the permutations are applied to.
    inputs = ((found >> np.uint64(32)).tolist() for found in rows)
    sketches = MinHash.bulk(inputs, num_perm=num_permutations, seed=SEED, hashfunc=_as_it_is)
    signatures = np.stack([sketch.hashvalues for sketch in sketches])[:, : bands * values]
    parts = signatures.reshape(len(rows), bands, values).astype(np.uint64)
    total = np.zeros((len(rows), bands), np.uint64)
    for place in range(values):
        total = (total ^ parts[:, :, place]) * _FACTOR
        total ^= total >> np.uint64(29)
    return total


def _as_it_is(value: int) -> int:
    return value


def _decide(shingles: ShingleFile, keys: np.ndarray, similarity: float) -> Copies:
    from siftune.selection.kernels.shingle_sets import SINGLE, buckets, find_copies

    rows = len(shingles.sizes)
    bucket, count = buckets(keys)
    bucket[shingles.sizes == 0] = SINGLE
    head, following = np.full(count, -1, np.int32), np.full(bucket.shape, -1, np.int32)
    seen, copy_of, overlap = np.full(rows, -1, np.int32), np.full(rows, -1, np.int32), np.zeros(rows)
    every, offsets = shingles.values(), shingles.offsets()
    compared = 0
    for start in range(0, rows, ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, rows)
        compared += find_copies(
            start, stop, similarity, every, offsets, bucket, head, following, seen, copy_of, overlap
        )
    return Copies(copy_of, overlap, compared)
