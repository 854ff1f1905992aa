"""An index of test questions: which of them batches of rows hold, and how much of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from siftune.evaluate.documents import Document
from siftune.evaluate.ngram_index import UNKNOWN, Grams, Postings, Vocabulary, wording
from siftune.selection.pool.words import words

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(row, document, share of its question that the row holds), (p,) each, pairs distinct."""


@dataclass(frozen=True)
class RowWords:
    """The words of a batch of rows."""

    turns: list[tuple[int, str]]
    """(row, from 0; the words of one of its turns, a space between them)."""
    numbers: np.ndarray
    """(w,) int32 in the index's vocabulary, a gap after every turn."""
    row: np.ndarray
    """(w,) int64 the row of each word."""


class QuestionIndex:
    """The questions of documents. What a row holds of one is told by its `ngram`s, or by the whole of a short one."""

    def __init__(self, documents: Sequence[Document], ngram: int, min_words: int, common: int) -> None:
        self._vocabulary = Vocabulary()
        questions = [words(document.question) for document in documents]
        numbers = [self._vocabulary.learn(question) for question in questions]
        tasks = np.unique([document.task for document in documents], return_inverse=True)[1]
        masks = wording(numbers, tasks, min(WORDING, ngram), common)
        own = [own_words(question, mask) for question, mask in zip(questions, masks, strict=True)]
        self.searchable = np.array([bool(mask.any()) for mask in own])
        """(d,) bool, documents whose question says something of its own."""
        long = np.array([mask.sum() >= ngram for mask in own])
        self._long = _LongQuestions(numbers, own, np.flatnonzero(long), ngram, min_words)
        short = np.flatnonzero(self.searchable & ~long).tolist()
        self._short = _ShortQuestions(numbers, own, documents, self._vocabulary, short, ngram)
        self._turns: dict[str, list[int]] = {}
        for place in np.flatnonzero(self.searchable).tolist():
            self._turns.setdefault(" ".join(questions[place]), []).append(place)

    def read(self, rows: Iterable[Iterable[str]]) -> RowWords:
        """A batch of rows, each given by the texts of its turns."""
        turns: list[tuple[int, str]] = []
        numbers: list[int] = []
        sizes = []
        for row, texts in enumerate(rows):
            before = len(numbers)
            for text in texts:
                found = words(text)
                turns.append((row, " ".join(found)))
                numbers += self._vocabulary.look_up(found)
                numbers.append(UNKNOWN)
            sizes.append(len(numbers) - before)
        return RowWords(turns, np.array(numbers, np.int32), np.repeat(np.arange(len(sizes)), sizes))

    def search(self, rows: RowWords) -> Pairs:
        """The documents of which rows hold something, by row and document."""
        whole = {(row, place) for row, turn in rows.turns for place in self._turns.get(turn, ())}
        whole |= self._short.search(rows)
        row, document, share = self._long.search(rows)
        known = np.array(sorted(whole), np.int64).reshape(-1, 2)
        row, document = np.concatenate([known[:, 0], row]), np.concatenate([known[:, 1], document])
        share = np.concatenate([np.ones(len(known)), share])
        # A turn that is a question holds all of it and may be found by its n-grams too: the first of equal pairs stays.
        _, first = np.unique(np.stack([row, document]), axis=1, return_index=True)
        return row[first], document[first], share[first]


WORDING = 5
"""A run of as many words that many documents share is how the task words its questions."""


def own_words(question: Sequence[str], common: np.ndarray) -> np.ndarray:
    """(w,) bool, the words that tell a question from others: not the task's wording (`common`), nor numbers and single
    letters (the options of one question are those of many), unless it has no other."""
    own = ~common
    telling = own & np.array([len(word) > 1 and not word.isdigit() for word in question], bool)
    return telling if telling.any() else own


class _LongQuestions:
    """Questions with at least `ngram` words of their own, by all runs of `ngram` words that hold one."""

    def __init__(
        self, numbers: Sequence[np.ndarray], own: Sequence[np.ndarray], members: np.ndarray, ngram: int, min_words: int
    ) -> None:
        masks = [own[member] for member in members]
        self._postings = Postings.of([numbers[member] for member in members], masks, ngram)
        self._grams = Grams(self._postings.grams)
        self._members = members
        self._size = np.array([mask.sum() for mask in masks], np.int64)
        self._least = np.minimum(self._size, min_words)

    def search(self, rows: RowWords) -> Pairs:
        hits = self._grams.find(rows.numbers)
        row, place, covered = self._postings.covered(rows.row[hits.position], hits.gram)
        enough = covered >= self._least[place]
        row, place, covered = row[enough], place[enough], covered[enough]
        return row, self._members[place], covered / self._size[place]


class _ShortQuestions:
    """Questions with fewer words of their own: found where a row holds these in a run, and the right answer as well."""

    def __init__(
        self,
        numbers: Sequence[np.ndarray],
        own: Sequence[np.ndarray],
        documents: Sequence[Document],
        vocabulary: Vocabulary,
        members: Sequence[int],
        ngram: int,
    ) -> None:
        questions: dict[tuple[int, ...], list[int]] = {}
        answers: dict[tuple[int, ...], list[int]] = {}
        for member in members:
            first, last = np.flatnonzero(own[member])[[0, -1]]
            question = tuple(numbers[member][first : last + 1].tolist())
            answer = tuple(vocabulary.learn(words(documents[member].answer)[:ngram]).tolist())
            # Fewer words than an n-gram, both together, may occur by chance; words that both have count once.
            if len(question) < ngram <= len(question) + len(set(answer) - set(question)):
                questions.setdefault(question, []).append(member)
                answers.setdefault(answer, []).append(member)
        self._questions, self._answers = _by_length(questions), _by_length(answers)

    def search(self, rows: RowWords) -> set[tuple[int, int]]:
        """(row, document) pairs."""
        asked = _holders(self._questions, rows)
        return asked & _holders(self._answers, rows) if asked else asked


_ByLength = list[tuple[Grams, list[list[int]]]]
"""For each length the runs of words, and the documents of each run."""


def _by_length(runs: dict[tuple[int, ...], list[int]]) -> _ByLength:
    by_length: dict[int, list[tuple[int, ...]]] = {}
    for run in runs:
        by_length.setdefault(len(run), []).append(run)
    return [(Grams(np.array(same, np.int32)), [runs[run] for run in same]) for _, same in sorted(by_length.items())]


def _holders(runs: _ByLength, rows: RowWords) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for grams, documents in runs:
        hits = grams.find(rows.numbers)
        for row, gram in zip(rows.row[hits.position].tolist(), hits.gram.tolist(), strict=True):
            found.update((row, document) for document in documents[gram])
    return found
