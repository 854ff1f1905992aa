"""Tags without a model: the terms of a row that weigh most by TF-IDF over the pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from siftune.finetune.model_sources import ModelRef
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.runtimes.runtime import Runtime
from siftune.selection.features.taggers.tag_normalisation import TagNormalisation
from siftune.selection.features.taggers.tagger import NO_QUERY, Tagged, Tagging, TagText, text_to_tag
from siftune.selection.pool.store import Pool

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

WORD = r"(?u)\b[^\W\d_][^\W_]+\b"
"""A word of a term: two letters or digits at least, a letter first."""
ROWS_AT_ONCE = 4096
COUNTED_TERMS = 2_000_000
"""Terms that are counted at a time, some 150 bytes each: where there are more, the rarest are forgotten."""


@dataclass(frozen=True, kw_only=True)
class KeywordTagger:
    """Unsupervised tags for pools without any, on a CPU: scikit-learn's TF-IDF terms. Deterministic; two passes.

    They say what a row is about by the words that it uses, not what is asked for: two rows that say the same in other
    words share none, and what a source always says becomes a tag ("write sql"). Nearly every row has `top_k` of them:
    unlike InsTag's, their number tells nothing of a row's complexity, by which selection=instag sorts.

    At most COUNTED_TERMS terms are counted at a time: in pools with more (from some 100,000 rows of prose, pairs of
    words counted) the rarest are forgotten now and then, and the counts of rare ones are lower bounds.
    """

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""
    text: TagText = "first_query"
    """first_query: the first user turn. conversation: all turns' texts."""
    top_k: int = 5
    """Tags of a row, at most."""
    max_words: int = 2
    """Words of a term, at most."""
    min_rows: int = 20
    """Terms of fewer rows are no tags (the alpha of InsTag)."""
    max_share: float = 0.2
    """Terms in more than this share of the rows are no tags: what nearly all rows say tells none apart."""
    max_terms: int = 50_000
    """Terms that can be tags, the most frequent first: with it memory is bounded whatever the pool."""
    stop_words: str | None = "english"
    """Words that are part of no term: english (scikit-learn's list), or null for none."""
    max_characters: int = 10_000
    """Characters of a row that are looked at."""
    normalise: TagNormalisation | None = field(default=None, metadata={"identity": False})
    """What becomes of the tags afterwards, in a stage of its own; null: nothing."""

    def __post_init__(self) -> None:
        for name in ("top_k", "max_words", "min_rows", "max_terms", "max_characters"):
            if getattr(self, name) < 1:
                raise ValueError(f"tagger.{name}={getattr(self, name)} must be at least 1")
        if not 0 < self.max_share <= 1:
            raise ValueError(f"tagger.max_share={self.max_share} must be above 0 and at most 1")
        if self.stop_words not in ("english", None):
            raise ValueError(f"tagger.stop_words={self.stop_words!r} must be english or null")

    @property
    def model(self) -> None:
        """None: it has no model."""
        return None

    def inputs(self) -> dict[str, str]:
        """The version of scikit-learn, whose list of stop words and formulas these are."""
        import sklearn

        return {"scikit-learn": sklearn.__version__}

    def tag(
        self, pool: Pool, reference: ModelRef | None, folder: Path, runtime: Runtime | None, progress: Progress
    ) -> Tagging:
        """Count the terms of all rows, then weigh those of each."""
        frequencies = self._frequencies(pool, progress)
        if not frequencies:
            raise ValueError(
                f"tagger=keywords finds no term in at least tagger.min_rows={self.min_rows} and at most the share "
                f"tagger.max_share={self.max_share} of {len(pool):,} rows: set the first lower or the second higher"
            )
        return Tagging(self._tagged(pool, frequencies, progress), notes={"terms": len(frequencies)})

    def _frequencies(self, pool: Pool, progress: Progress) -> dict[str, int]:
        """Term -> rows that have it, of the terms that can be tags, in alphabetical order."""
        analyze = self._vectorizer().build_analyzer()
        counts: Counter[str] = Counter()
        for block in self._texts(pool):
            for text in block:
                counts.update(set(analyze(text or "")))
            if len(counts) > COUNTED_TERMS:
                counts = _most_frequent(counts, COUNTED_TERMS // 2)
            progress(len(block) // 2)
        most = self.max_share * len(pool)
        usable = Counter({term: count for term, count in counts.items() if self.min_rows <= count <= most})
        return dict(sorted(_most_frequent(usable, self.max_terms).items()))

    def _tagged(self, pool: Pool, frequencies: dict[str, int], progress: Progress) -> Iterator[Tagged]:
        terms = np.array(list(frequencies), dtype=object)
        vectorizer = self._vectorizer(vocabulary=list(frequencies))
        # scikit-learn's smoothed form, as it would have fitted it.
        vectorizer.idf_ = np.log((1 + len(pool)) / (1 + np.array(list(frequencies.values())))) + 1
        for block in self._texts(pool):
            weights = vectorizer.transform([text or "" for text in block])
            for row, text in enumerate(block):
                part = slice(weights.indptr[row], weights.indptr[row + 1])
                columns, values = weights.indices[part], weights.data[part]
                best = columns[np.lexsort((columns, -values))[: self.top_k]]
                why = NO_QUERY if text is None else f"none of its words is one of the {len(terms):,} terms"
                yield Tagged(tuple(terms[best]), None if len(best) else why)
            progress(len(block) - len(block) // 2)

    def _vectorizer(self, vocabulary: list[str] | None = None) -> TfidfVectorizer:
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(
            ngram_range=(1, self.max_words),
            stop_words=self.stop_words,
            token_pattern=WORD,
            norm=None,
            vocabulary=vocabulary,
        )

    def _texts(self, pool: Pool) -> Iterator[list[str | None]]:
        """Block after block of the rows' texts, None where a row has none."""
        for start in range(0, len(pool), ROWS_AT_ONCE):
            rows = pool.rows(range(start, min(start + ROWS_AT_ONCE, len(pool))))
            texts = (text_to_tag(row, self.text) for row in rows)
            yield [None if text is None else text[: self.max_characters] for text in texts]


def _most_frequent(counts: Counter[str], most: int) -> Counter[str]:
    """At most so many terms, of equally frequent ones the first in alphabetical order."""
    if len(counts) <= most:
        return counts
    return Counter(dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]))
