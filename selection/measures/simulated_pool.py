"""A pool whose topics, copies and outliers are known, because it is made: embeddings and texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siftune.selection.kernels.vectors import unit_block

OUTLIER, BOILERPLATE = -1, -2
"""What stands in place of a topic's number; near-copies of the i-th original have BOILERPLATE - i."""
_COMMON_WORDS, _TOPIC_WORDS, _RARE_WORDS = 300, 200, 20_000


@dataclass(frozen=True, kw_only=True)
class SimulatedPoolSettings:
    """What the pool looks like."""

    topics: int = 20
    """Directions that rows gather around."""
    topic_rows: int = 120
    """Different rows of each topic."""
    outliers: int = 200
    """Rows with a direction and words of their own."""
    boilerplate: int = 10
    """Rows that the pool has nothing but near-copies of."""
    boilerplate_copies: int = 20
    """Near-copies of each."""
    dimension: int = 64
    """Width of the embeddings, whose length is 1."""
    spread: tuple[float, float] = (0.5, 1.0)
    """How far rows lie from their topic's direction, whose length is 1: in the tightest topic, and in the widest."""
    words: int = 40
    """Words of a row's text: half of them common ones, half its topic's."""
    copy_noise: float = 0.05
    """How far a near-copy lies from its original; one of its words is another, too."""

    def __post_init__(self) -> None:
        least = {"topics": 2, "topic_rows": 1, "outliers": 1, "boilerplate": 1, "boilerplate_copies": 1}
        for name, smallest in (least | {"dimension": 2, "words": 2}).items():
            if getattr(self, name) < smallest:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {smallest}")
        if not 0 < self.spread[0] <= self.spread[1]:
            raise ValueError(f"spread={list(self.spread)} must be two positive numbers, the smaller one first")
        if not self.copy_noise >= 0:
            raise ValueError(f"copy_noise={self.copy_noise} must not be negative")


@dataclass(frozen=True)
class SimulatedRows:
    """Rows of which it is known what they are."""

    embeddings: np.ndarray
    """(n, d) float32, of length 1."""
    texts: tuple[str, ...]
    """n texts."""
    topics: np.ndarray
    """(n,) int64: 0 ... topics - 1, OUTLIER, or BOILERPLATE - i."""

    def __len__(self) -> int:
        return len(self.topics)

    def take(self, rows: np.ndarray) -> SimulatedRows:
        """These rows, in this order."""
        return SimulatedRows(self.embeddings[rows], tuple(self.texts[row] for row in rows), self.topics[rows])

    def without_repeats(self) -> SimulatedRows:
        """The rows with one of each boilerplate's near-copies."""
        _, first = np.unique(self.topics, return_index=True)
        kept = self.topics > BOILERPLATE
        kept[first] = True
        return self.take(np.flatnonzero(kept))


def make_pool(settings: SimulatedPoolSettings, rng: np.random.Generator) -> SimulatedRows:
    """The topics' rows, topic by topic, the outliers, then the boilerplate."""
    centres = _directions(settings.topics, settings.dimension, rng)
    topics = np.repeat(np.arange(settings.topics), settings.topic_rows)
    typical = _rows(topics, centres, settings, rng)
    outlying = _rows(np.full(settings.outliers, OUTLIER), centres, settings, rng)
    # Of rows that the topics have besides: no other row of the pool has copies.
    originals = _rows(rng.integers(settings.topics, size=settings.boilerplate), centres, settings, rng)
    copied = np.repeat(np.arange(settings.boilerplate), settings.boilerplate_copies)
    copies = near_copies(originals.take(copied), np.ones(len(copied), dtype=bool), settings.copy_noise, rng)
    return SimulatedRows(
        np.concatenate([typical.embeddings, outlying.embeddings, copies.embeddings]),
        typical.texts + outlying.texts + copies.texts,
        np.concatenate([topics, outlying.topics, BOILERPLATE - copied]),
    )


def near_copies(rows: SimulatedRows, which: np.ndarray, noise: float, rng: np.random.Generator) -> SimulatedRows:
    """The rows with near-copies in place of the (n,) bool `which`: moved by `noise`, and one word another."""
    moved = rows.embeddings + noise * which[:, None] * _directions(len(rows), rows.embeddings.shape[1], rng)
    texts = tuple(_reworded(text, rng) if copy else text for text, copy in zip(rows.texts, which.tolist(), strict=True))
    return SimulatedRows(unit_block(moved), texts, rows.topics)


def _rows(
    topics: np.ndarray, centres: np.ndarray, settings: SimulatedPoolSettings, rng: np.random.Generator
) -> SimulatedRows:
    """A row of each of these topics."""
    own = _directions(len(topics), settings.dimension, rng)
    is_typical = (topics != OUTLIER)[:, None]
    spread = np.linspace(*settings.spread, settings.topics)[topics][:, None]
    embeddings = unit_block(np.where(is_typical, centres[topics] + spread * own, own))
    return SimulatedRows(embeddings, tuple(_text(topic, settings.words, rng) for topic in topics.tolist()), topics)


def _text(topic: int, words: int, rng: np.random.Generator) -> str:
    """Common words and the topic's are as frequent as Zipf's law has it; those of an outlier are rare ones."""
    common = [_word("a", number) for number in _zipf(_COMMON_WORDS, words - words // 2, rng)]
    if topic == OUTLIER:
        other = [_word("b", number) for number in rng.integers(_RARE_WORDS, size=words // 2).tolist()]
    else:
        other = [_word(f"{_word('c', topic)}x", number) for number in _zipf(_TOPIC_WORDS, words // 2, rng)]
    return " ".join(np.array(common + other)[rng.permutation(words)])


def _reworded(text: str, rng: np.random.Generator) -> str:
    words = text.split(" ")
    words[int(rng.integers(len(words)))] = _word("a", _zipf(_COMMON_WORDS, 1, rng)[0])
    return " ".join(words)


def _zipf(vocabulary: int, count: int, rng: np.random.Generator) -> list[int]:
    chances = 1 / np.arange(1, vocabulary + 1)
    drawn: list[int] = rng.choice(vocabulary, size=count, p=chances / chances.sum()).tolist()
    return drawn


def _word(prefix: str, number: int) -> str:
    """A word of letters alone: some counters of words leave out digits."""
    return prefix + "".join("abcdefghij"[int(digit)] for digit in str(number))


def _directions(count: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    return unit_block(rng.normal(size=(count, dimension)))
