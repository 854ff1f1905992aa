"""n-grams of test questions: found in rows by their hashes, in batches with NumPy, each find verified word by word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

UNKNOWN = -1
"""A word that no test document has, and the gap between turns: no n-gram reaches across one."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_FILTER_BITS = 22


class Vocabulary(dict[str, int]):
    """The words of the test documents, numbered from 0."""

    def learn(self, words: Sequence[str]) -> np.ndarray:
        """(w,) int32 numbers of a document's words; new ones are added."""
        return np.array([self.setdefault(word, len(self)) for word in words], np.int32)

    def look_up(self, words: Sequence[str]) -> list[int]:
        """Numbers of a row's words, UNKNOWN for those that no document has."""
        return [self.get(word, UNKNOWN) for word in words]


@dataclass(frozen=True)
class Finds:
    """Runs of words that are n-grams of documents."""

    position: np.ndarray
    """(f,) int64 where in the words a run starts."""
    gram: np.ndarray
    """(f,) int64 which n-gram it is."""


class Grams:
    """The distinct n-grams of one length, to be found in long arrays of word numbers."""

    def __init__(self, grams: np.ndarray) -> None:
        """`grams` (g, length) int32, distinct."""
        self.length = grams.shape[1]
        hashes = hash_each(grams)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._gram, self._words = hashes[order], order, grams[order]
        self._maybe = np.zeros(1 << _FILTER_BITS, bool)
        self._maybe[_low(hashes)] = True

    def find(self, words: np.ndarray) -> Finds:
        """All occurrences in `words` (w,) int32, ascending."""
        if len(words) < self.length or len(self._hashes) == 0:
            return Finds(np.zeros(0, np.int64), np.zeros(0, np.int64))
        hashes = hash_runs(words, self.length)
        # Most runs are none of the documents': one look into a small table tells.
        near = np.flatnonzero(self._maybe[_low(hashes)])
        place = np.minimum(np.searchsorted(self._hashes, hashes[near]), len(self._hashes) - 1)
        found = self._hashes[place] == hashes[near]
        near, place = near[found], place[found]
        runs = words[near[:, None] + np.arange(self.length)]
        equal = (runs == self._words[place]).all(axis=1)
        return Finds(near[equal], self._gram[place[equal]])


def hash_runs(words: np.ndarray, length: int) -> np.ndarray:
    """(w - length + 1,) uint64 hashes of all runs of `length` words; (w,) int32 numbers."""
    mixed = (words.astype(np.uint64) + np.uint64(1)) * _FACTOR
    mixed ^= mixed >> np.uint64(32)
    total = np.zeros(len(words) - length + 1, np.uint64)
    for place in range(length):
        total = (total ^ mixed[place : place + len(total)]) * _FACTOR
        total ^= total >> np.uint64(29)
    return total


def hash_each(runs: np.ndarray) -> np.ndarray:
    """(r,) uint64: the hash of each of (r, length) runs."""
    return hash_runs(runs.ravel(), runs.shape[1])[:: runs.shape[1]] if len(runs) else np.zeros(0, np.uint64)


def wording(questions: Sequence[np.ndarray], tasks: np.ndarray, length: int, common: int) -> list[np.ndarray]:
    """For each question (w,) bool, the words in runs of `length` words that more than `common` documents of its task
    have: how the task words its questions ("which of the following is"), and phrases that are anybody's."""
    masks = [np.zeros(len(question), bool) for question in questions]
    for task in np.unique(tasks):
        members = [place for place in np.flatnonzero(tasks == task).tolist() if len(questions[place]) >= length]
        if len(members) <= common:
            continue
        hashes = [hash_runs(questions[place], length) for place in members]
        values, times = np.unique(np.concatenate([np.unique(run) for run in hashes]), return_counts=True)
        shared = np.isin(np.concatenate(hashes), values[times > common])
        ends = np.cumsum([len(run) for run in hashes])[:-1]
        for place, found in zip(members, np.split(shared, ends), strict=True):
            for start in np.flatnonzero(found).tolist():
                masks[place][start : start + length] = True
    return masks


@dataclass(frozen=True)
class Postings:
    """Where n-grams stand in questions, by n-gram."""

    grams: np.ndarray
    """(g, length) int32 distinct."""
    starts: np.ndarray
    """(g + 1,) int64: n-gram i's postings are starts[i]:starts[i + 1]."""
    question: np.ndarray
    """(p,) int64."""
    offset: np.ndarray
    """(p,) int64 the n-gram's first word in the question."""
    own_before: np.ndarray
    """(all words + 1,) int64 own words before each, the questions one after another."""
    base: np.ndarray
    """(q + 1,) int64 where each question's words start in `own_before`."""

    @classmethod
    def of(cls, questions: Sequence[np.ndarray], own: Sequence[np.ndarray], length: int) -> Postings:
        """Of all runs of `length` words that hold one of the question's own."""
        every = np.concatenate([*questions, _NO_WORDS])
        own_before = np.concatenate([[0], np.cumsum(np.concatenate([*own, _NO_WORDS]))]).astype(np.int64)
        base = np.concatenate([[0], np.cumsum([len(question) for question in questions])]).astype(np.int64)
        counts = np.maximum(np.diff(base) - length + 1, 0)
        question = np.repeat(np.arange(len(questions)), counts)
        offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        start = base[question] + offset
        holds = own_before[start + length] > own_before[start]
        question, offset, start = question[holds], offset[holds], start[holds]
        runs = every[start[:, None] + np.arange(length)]
        _, first, gram = np.unique(hash_each(runs), return_index=True, return_inverse=True)
        assert (runs[first][gram] == runs).all(), "two n-grams have the same 64-bit hash"
        order = np.argsort(gram, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(gram, minlength=len(first)))])
        return cls(runs[first], starts, question[order], offset[order], own_before, base)

    def covered(self, row: np.ndarray, gram: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(row, question, how many of its own words the n-grams found in the row cover), pairs distinct."""
        row, posting = self._expand(row, gram)
        question, offset = self.question[posting], self.offset[posting]
        order = np.lexsort((offset, question, row))
        row, question, offset = row[order], question[order], offset[order]
        if len(row) == 0:
            return row, question, offset
        same = (row[1:] == row[:-1]) & (question[1:] == question[:-1])
        # A run counts up to where the next run of the same pair starts: all of it for the last one.
        length = np.full(len(row), self.grams.shape[1])
        length[:-1][same] = np.minimum(np.diff(offset)[same], length[:-1][same])
        start = self.base[question] + offset
        covered = self.own_before[start + length] - self.own_before[start]
        first = np.flatnonzero(np.concatenate([[True], ~same]))
        return row[first], question[first], np.add.reduceat(covered, first)

    def _expand(self, row: np.ndarray, gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(row, posting) of every posting of every n-gram found."""
        sizes = self.starts[gram + 1] - self.starts[gram]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return np.repeat(row, sizes), np.repeat(self.starts[gram], sizes) + within


_NO_WORDS = np.zeros(0, np.int32)


def _low(hashes: np.ndarray) -> np.ndarray:
    return hashes & np.uint64((1 << _FILTER_BITS) - 1)
