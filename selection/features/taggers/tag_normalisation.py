"""Fewer and firmer tags out of raw ones: folded spellings, a least number of rows, near-synonyms under one name.

After InsTag (Lu et al. 2023, arXiv 2308.07074, section 3.2), whose steps are a frequency filter, aggregation by rules,
by meaning (DBSCAN over phrase embeddings) and by association. Here spellings are folded first, so that they count
together; words are not stemmed, and tags that merely occur together are not merged.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

_NOT_A_WORD = re.compile(r"(?:[^\w+#]|_|(?<![\w+#])[+#]+)+")
"""White space and punctuation, but for the signs of C++ and C#."""

MAPPING_FILE = "mapping.jsonl"


@dataclass(frozen=True, kw_only=True)
class TagNormalisation:
    """What becomes of raw tags; applying another one does not tag again."""

    fold: bool = True
    """Whether case, punctuation and white space are the same: "Math-problem " and "math problem" are one tag."""
    min_rows: int = 20
    """Tags of fewer rows are dropped (InsTag's alpha)."""
    eps: float | None = 0.05
    """Tags whose embeddings have at most this cosine distance are merged, and so are chains of them (InsTag's DBSCAN,
    there with PHRASEBERT; here with `tag_encoder`, whose distances may be of another size). null: nothing is merged."""

    def __post_init__(self) -> None:
        if self.min_rows < 1:
            raise ValueError(f"tagger.normalise.min_rows={self.min_rows} must be at least 1")
        if self.eps is not None and not 0 < self.eps < 1:
            raise ValueError(f"tagger.normalise.eps={self.eps} must be above 0 and below 1; null merges nothing")


@dataclass(frozen=True)
class TagFate:
    """What became of one raw tag."""

    raw: str
    rows: int
    """That have it."""
    tag: str | None
    """What it is called now; None where it was dropped."""
    why: str | None
    """Why it was dropped, or under another name than its own; None where it is as it was."""


@dataclass(frozen=True)
class _Spellings:
    """The tags of all rows after folding: an entry a row and tag that it has."""

    raw_names: list[str]
    raw_rows: np.ndarray
    """(R,) int64, rows that have each raw tag."""
    folded: np.ndarray
    """(R,) int64, of each raw tag its place in `names`."""
    names: list[str]
    """The F folded tags, in alphabetical order; "" for raw tags of which nothing is left."""
    rows: np.ndarray
    """(m,) int64 ascending."""
    tags: np.ndarray
    """(m,) int64 places in `names`; a row has each once, in the order of its raw tags."""


def group_tags(
    lists: pa.ListArray, config: TagNormalisation, embed: Callable[[Sequence[str]], np.ndarray]
) -> tuple[Iterator[tuple[str, ...]], list[TagFate]]:
    """The n rows' new tags, and what became of each raw tag, in alphabetical order. `lists`: n lists of distinct tags.

    `embed` gives (t, d) embeddings of tags; it is asked once, and not at all where `eps` is None. A group is named by
    its member of most rows, of several the first in alphabetical order. ValueError where no tag is left.
    """
    spelt = _spellings(lists, config.fold)
    counts = np.bincount(spelt.tags, minlength=len(spelt.names))
    enough = counts >= config.min_rows
    kept = np.array([number for number, name in enumerate(spelt.names) if name and enough[number]], dtype=np.int64)
    if len(spelt.names) and not len(kept):
        raise ValueError(
            f"tagger.normalise.min_rows={config.min_rows} leaves none of {len(spelt.raw_names):,} tags: the most "
            f"frequent one is in {counts.max():,} rows; set it lower"
        )
    heads = np.full(len(spelt.names), -1)
    heads[kept] = kept[_heads([spelt.names[tag] for tag in kept], counts[kept], config.eps, embed)]
    return _new_lists(spelt, heads, len(lists)), list(_fates(spelt, heads, counts, config))


def fold(tag: str) -> str:
    """Lower case, with one space in place of punctuation and white space; C++ and C# keep their signs."""
    return _NOT_A_WORD.sub(" ", unicodedata.normalize("NFKC", tag).lower()).strip()


def write_mapping(folder: Path, fates: Sequence[TagFate]) -> None:
    """Write mapping.jsonl, a line a raw tag."""
    with (folder / MAPPING_FILE).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(fate), ensure_ascii=False) + "\n" for fate in fates)


def _spellings(lists: pa.ListArray, folding: bool) -> _Spellings:
    entries = lists.flatten().dictionary_encode()
    raw_names, raw = entries.dictionary.to_pylist(), entries.indices.to_numpy()
    rows = np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy()))
    spelt = [fold(name) if folding else name for name in raw_names]
    names, folded = np.unique(np.asarray(spelt, dtype=object), return_inverse=True)
    tags = folded[raw] if len(raw) else np.empty(0, dtype=np.int64)
    _, first = np.unique(rows * max(1, len(names)) + tags, return_index=True)
    first.sort()
    raw_rows = np.bincount(raw, minlength=len(raw_names))
    return _Spellings(raw_names, raw_rows, folded, names.tolist(), rows[first], tags[first])


def _heads(
    names: list[str], counts: np.ndarray, eps: float | None, embed: Callable[[Sequence[str]], np.ndarray]
) -> np.ndarray:
    """(t,) for each tag the place of the tag that names its group; `names` are in alphabetical order."""
    if eps is None or len(names) < 2:
        return np.arange(len(names))
    groups = _clusters(np.asarray(embed(names), dtype=np.float64), eps)
    order = np.lexsort((np.arange(len(names)), -counts, groups))
    _, first, inverse = np.unique(groups[order], return_index=True, return_inverse=True)
    heads = np.empty(len(names), dtype=np.int64)
    heads[order] = order[first][inverse]
    return heads


def _clusters(embeddings: np.ndarray, eps: float) -> np.ndarray:
    """(t,) group of each embedding: those within eps of each other, or joined by a chain of such."""
    from sklearn import config_context
    from sklearn.cluster import DBSCAN

    # Every tag is a core point: it needs no neighbours besides itself.
    with config_context(working_memory=128):
        return np.asarray(DBSCAN(eps=eps, min_samples=1, metric="cosine").fit_predict(embeddings))


def _new_lists(spelt: _Spellings, heads: np.ndarray, size: int) -> Iterator[tuple[str, ...]]:
    bounds = np.searchsorted(spelt.rows, np.arange(size + 1)).tolist()
    of_entries = heads[spelt.tags]
    for start, stop in pairwise(bounds):
        named = (spelt.names[head] for head in of_entries[start:stop].tolist() if head >= 0)
        yield tuple(dict.fromkeys(named))


def _fates(spelt: _Spellings, heads: np.ndarray, counts: np.ndarray, config: TagNormalisation) -> Iterator[TagFate]:
    for raw in np.argsort(np.asarray(spelt.raw_names, dtype=object)).tolist():
        name, own, rows = spelt.raw_names[raw], int(spelt.folded[raw]), int(spelt.raw_rows[raw])
        spelling, head = spelt.names[own], int(heads[own])
        if head >= 0:
            tag = spelt.names[head]
            why = None if tag == name else "spelling" if head == own else f"within eps={config.eps} of its group"
            yield TagFate(name, rows, tag, why)
        elif not spelling:
            yield TagFate(name, rows, None, "nothing but punctuation")
        else:
            yield TagFate(name, rows, None, f"in {counts[own]:,} rows, fewer than min_rows={config.min_rows}")
