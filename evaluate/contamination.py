"""Rows of a pool that hold test documents of a suite, found by shared n-grams of words.

What a benchmark asks must not be trained on. A row is contaminated where more than the share `coverage` of a question's
words lies in n-grams that the row has too: the rule of Tulu 3 (Lambert et al. 2024, arXiv:2411.15124, section 3.2:
8-grams, more than half of the tokens of the test prompt). On real pools it also finds what is no copy, so that words
that many questions of a task share do not count, and a few words alone are not enough. `ngram=13 coverage=0` is the
rule of GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C: any 13-gram). Paraphrases are not found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from siftune.evaluate.documents import Document
from siftune.evaluate.question_index import QuestionIndex
from siftune.selection.pool.rows import Message
from siftune.selection.pool.store import Pool
from siftune.selection.pool.words import TextPart, turns

Progress = Callable[[int], None]
"""Called with the number of rows done since the last call."""

ROWS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class Decontaminate:
    """Rows that hold test documents of the suite are removed.

    Words are compared without case and punctuation.
    """

    ngram: int = 8
    """Words of an n-gram; Tulu 3 takes 8, GPT-3 13. A question with fewer words of its own counts where it is a whole
    turn of the row, or where its right answer occurs as well and both together have as many words."""
    coverage: float = 0.5
    """A row is removed when more than this share of a question's own words lies in n-grams that both have. Tulu 3 takes
    0.5; with 0 one shared n-gram is enough. Numbers and single letters must agree, but do not count."""
    min_words: int = 13
    """Fewer shared words than this count only where they are all of the question's: phrases of one n-gram are
    anybody's. 13 is GPT-3's n-gram; Tulu 3 asks for no more than the share (1)."""
    common: int = 10
    """Words that more than this many documents of a task share in runs of five ("which of the following is") are the
    task's wording: they do not count as words of a question."""
    text: TextPart = "conversation"
    """Which turns of a row are compared: all, those before the final response ("prompt"), or that response."""

    def __post_init__(self) -> None:
        for name in ("ngram", "min_words", "common"):
            if getattr(self, name) < 1:
                raise ValueError(f"decontaminate.{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.coverage < 1:
            raise ValueError(
                f"decontaminate.coverage={self.coverage} must be at least 0 and below 1: a row is removed when it has "
                "more than this share of a question"
            )


@dataclass(frozen=True)
class Overlaps:
    """Pairs of a row and a test document that it holds, by row, then by document."""

    row: np.ndarray
    """(p,) int64."""
    document: np.ndarray
    """(p,) int64 places in the list of documents."""
    share: np.ndarray
    """(p,) float64 share of the question's words, above `coverage`."""
    searched: np.ndarray
    """(d,) bool, documents that could be found: the others ask nothing of their own."""

    def worst(self) -> Overlaps:
        """One pair a row: the document that the row holds most of, the first of several."""
        order = np.lexsort((self.document, -self.share, self.row))
        first = np.ones(len(order), bool)
        first[1:] = self.row[order][1:] != self.row[order][:-1]
        chosen = order[first]
        return Overlaps(self.row[chosen], self.document[chosen], self.share[chosen], self.searched)


@dataclass(frozen=True)
class TaskOverlap:
    """How much of a task's test documents some rows hold."""

    documents: int
    searched: int
    """Documents that could be found: the others ask nothing of their own (no words, or only the task's wording)."""
    contaminated: tuple[str, ...]
    """Ids of the documents that a row holds."""
    rows: int
    """Rows that hold at least one of them."""

    @property
    def share(self) -> float:
        """Of the documents that could be found, those that a row holds. Tulu 3 drops a data set above 2%."""
        return len(self.contaminated) / self.searched if self.searched else 0.0


def find_overlaps(
    conversations: Iterable[list[Message]],
    documents: Sequence[Document],
    config: Decontaminate,
    progress: Progress = lambda rows: None,
) -> Overlaps:
    """All pairs of a conversation and a document of which it holds more than `coverage`.

    One pass, in batches: the memory is that of the documents' n-grams (about 150 bytes a word), whatever the pool.
    """
    index = QuestionIndex(documents, config.ngram, config.min_words, config.common)
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for start, batch in _batches(conversations):
        row, document, share = index.search(index.read(turns(messages, config.text) for messages in batch))
        enough = share > config.coverage
        found.append((row[enough] + start, document[enough], share[enough]))
        progress(len(batch))
    row, document, share = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Overlaps(row, document, share, index.searchable)


def pool_overlaps(
    pool: Pool, documents: Sequence[Document], config: Decontaminate, progress: Progress = lambda rows: None
) -> Overlaps:
    """The same for all rows of a pool."""
    return find_overlaps(_conversations(pool), documents, config, progress)


def subset_overlap(
    pool: Pool, indices: Sequence[int] | np.ndarray, documents: Sequence[Document], config: Decontaminate
) -> dict[str, TaskOverlap]:
    """task -> how much of its test documents the rows at `indices` hold, e.g. the picks of a selection."""
    chosen = (row.messages for row in pool.rows(int(index) for index in indices))
    return by_task(find_overlaps(chosen, documents, config), documents)


def by_task(overlaps: Overlaps, documents: Sequence[Document]) -> dict[str, TaskOverlap]:
    """task -> its contaminated documents and the rows that hold them."""
    tasks = np.array([document.task for document in documents])
    result = {}
    for task in dict.fromkeys(tasks.tolist()):
        own = tasks[overlaps.document] == task
        held = np.unique(overlaps.document[own])
        result[task] = TaskOverlap(
            documents=int((tasks == task).sum()),
            searched=int((overlaps.searched & (tasks == task)).sum()),
            contaminated=tuple(documents[place].id for place in held),
            rows=len(np.unique(overlaps.row[own])),
        )
    return result


def _conversations(pool: Pool) -> Iterator[list[Message]]:
    for start in range(0, len(pool), ROWS_AT_ONCE):
        yield from pool.conversations(start, min(start + ROWS_AT_ONCE, len(pool)))


def _batches(conversations: Iterable[list[Message]]) -> Iterator[tuple[int, list[list[Message]]]]:
    rest, start = iter(conversations), 0
    while batch := list(islice(rest, ROWS_AT_ONCE)):
        yield start, batch
        start += len(batch)
