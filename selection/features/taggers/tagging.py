"""A pool's rows to their tags: tags.parquet, and reasons.jsonl for the rows that have none."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import csr_array

from siftune.finetune.model_sources import ModelRef
from siftune.selection.features.array_files import tag_matrix
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.runtimes.runtime import Runtime
from siftune.selection.features.taggers.tag_normalisation import TagNormalisation, group_tags, write_mapping
from siftune.selection.features.taggers.tagger import Tagged, Tagger
from siftune.selection.files import sha256_of, write_whole
from siftune.selection.pool.store import Pool

TAGS_FILE = "tags.parquet"
REASONS_FILE = "reasons.jsonl"
_DIGEST_FILE = "tags.sha256"
_SCHEMA = pa.schema({"id": pa.string(), "tags": pa.list_(pa.string())})
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class TagCounts:
    """What is to be said of tags that were written."""

    rows: int
    tags: int
    """Different ones."""
    tags_per_row: float
    """On average, rows without a tag counted."""
    without_tags: int
    """Rows that have none; reasons.jsonl has their ids and says why."""


@dataclass(frozen=True)
class NormalisationSummary(TagCounts):
    """What normalising tags came to."""

    raw_tags: int
    """Different ones before."""
    dropped_tags: int
    """Of these, without a tag that they became."""


@dataclass(frozen=True)
class TaggingSummary(TagCounts):
    """What tagging a pool came to."""

    truncated: int
    """Rows whose text was cut."""
    tokens: int
    """Tokens that a model read or wrote."""
    seconds: float
    """Of this call; shards found from an earlier one cost next to nothing."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """What else the tagger counted."""


def tag(
    pool: Pool,
    tagger: Tagger,
    reference: ModelRef | None,
    folder: Path,
    progress: Progress = lambda rows: None,
    runtime: Runtime | None = None,
) -> TaggingSummary:
    """Write tags.parquet (id, tags) and reasons.jsonl; row i of the table is pool row i."""
    start = time.perf_counter()
    tagging = tagger.tag(pool, reference, folder, runtime, progress)
    counts = write_tags(pool, folder, tagging.rows)
    return TaggingSummary(
        **vars(counts),
        truncated=tagging.truncated,
        tokens=tagging.tokens,
        seconds=time.perf_counter() - start,
        notes=dict(tagging.notes),
    )


def write_tags(pool: Pool, folder: Path, rows: Iterable[Tagged]) -> TagCounts:
    """Write the tags and reasons of all rows of a pool, a block of rows in memory at a time."""
    seen: Counter[str] = Counter()
    without, start, temporary = 0, 0, folder / f"{TAGS_FILE}.partial"
    told = folder / f"{REASONS_FILE}.partial"
    with pq.ParquetWriter(temporary, _SCHEMA) as table, told.open("w", encoding="utf-8") as reasons:
        for block in _blocks(rows):
            ids = pool.ids[start : start + len(block)].tolist()
            start += len(block)
            table.write_table(pa.table({"id": ids, "tags": [row.tags for row in block]}, schema=_SCHEMA))
            for row_id, row in zip(ids, block, strict=True):
                seen.update(row.tags)
                if not row.tags:
                    without += 1
                    reasons.write(json.dumps({"id": row_id, "why": row.why}, ensure_ascii=False) + "\n")
    assert start == len(pool), f"{start} rows were tagged in a pool of {len(pool)}"
    told.replace(folder / REASONS_FILE)
    temporary.replace(folder / TAGS_FILE)
    write_whole(folder / _DIGEST_FILE, sha256_of(folder / TAGS_FILE))
    return TagCounts(start, len(seen), seen.total() / max(1, start), without)


def normalise(
    pool: Pool,
    raw: Path,
    folder: Path,
    config: TagNormalisation,
    embed: Callable[[Sequence[str]], np.ndarray],
) -> NormalisationSummary:
    """Write the normalised tags of the folder `raw`, reasons.jsonl, and mapping.jsonl: what became of each raw tag."""
    lists, reasons = tag_column(raw), read_reasons(raw)
    new, fates = group_tags(lists, config, embed)
    had = pc.list_value_length(lists).to_numpy()

    def tagged() -> Iterator[Tagged]:
        for row, tags in enumerate(new):
            why = reasons.get(str(pool.ids[row])) if had[row] == 0 else f"all of its {had[row]} tags were dropped"
            yield Tagged(tags, None if tags else why)

    counts = write_tags(pool, folder, tagged())
    write_mapping(folder, fates)
    return NormalisationSummary(
        **vars(counts), raw_tags=len(fates), dropped_tags=sum(fate.tag is None for fate in fates)
    )


def has_whole_tags(folder: Path) -> bool:
    """Whether the tags are those that were written."""
    table, digest = folder / TAGS_FILE, folder / _DIGEST_FILE
    return table.is_file() and digest.is_file() and digest.read_text(encoding="utf-8") == sha256_of(table)


def tag_column(folder: Path) -> pa.ListArray:
    """The lists of tags, row i that of pool row i."""
    return pq.read_table(folder / TAGS_FILE, columns=["tags"]).column(0).combine_chunks()


def read_tags(folder: Path) -> tuple[csr_array, list[str]]:
    """(n, L) 0/1 float64 and the names of its columns, in alphabetical order."""
    return tag_matrix(tag_column(folder))


def read_reasons(folder: Path) -> dict[str, str]:
    """Row id -> why it has no tag."""
    with (folder / REASONS_FILE).open(encoding="utf-8") as file:
        lines: Iterator[dict[str, Any]] = map(json.loads, file)
        return {line["id"]: line["why"] for line in lines}


def _blocks(rows: Iterable[Tagged]) -> Iterator[list[Tagged]]:
    remaining = iter(rows)
    while block := list(islice(remaining, _ROWS_AT_ONCE)):
        yield block
