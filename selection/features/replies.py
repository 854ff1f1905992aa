"""What a model answers to the prompts of a pool's rows: the same rows with its replies, as a pool of their own."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from siftune.finetune.decoding import Decoding
from siftune.finetune.model_sources import ModelRef
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.mapping import map_rows
from siftune.selection.features.runtimes.runtime import OpenJob, Runtime
from siftune.selection.features.scorers.scoring import write_reasons
from siftune.selection.features.shards import Notes
from siftune.selection.files import sha256_of, write_whole
from siftune.selection.pool.rows import Row
from siftune.selection.pool.rows_file import RowWriter
from siftune.selection.pool.store import ROWS_FILE, Pool

ANSWERED_FILE = "answered.npy"
_DIGEST_FILE = "replies.sha256"
SHARD_ROWS = 64
"""Rows that are generated together, and at most lost when the process is killed."""


@dataclass(frozen=True, kw_only=True)
class ReplySettings:
    """How replies are made."""

    text: ClassVar[str] = "prompt"
    """What the model reads of a row (for estimates)."""

    decoding: Decoding
    """How a reply is drawn and when it is cut."""

    @property
    def max_new_tokens(self) -> int:
        """At most so many tokens are written a row (for estimates)."""
        return self.decoding.max_new_tokens


@dataclass(frozen=True)
class RepliesSummary:
    """What asking a model for replies came to."""

    rows: int
    """Rows that were asked for."""
    without_reply: int
    """Rows that have no prompt, or one too long; reasons.jsonl has their ids and says why."""
    empty: int
    """Replies that are nothing but the end of the turn; they are kept."""
    cut: int
    """Replies that had not ended after max_new_tokens; they are kept as far as they go."""
    tokens: int
    """Tokens that the model wrote."""
    prompt_tokens: int
    """Tokens that it read."""
    seconds: float
    """Of this call; shards found from an earlier one cost next to nothing."""


def reply(
    pool: Pool,
    reference: ModelRef,
    settings: ReplySettings,
    folder: Path,
    seed: int,
    progress: Progress = lambda rows: None,
    runtime: Runtime | None = None,
) -> RepliesSummary:
    """Write rows.arrow: a pool (`Pool.open(folder)`) of the rows whose final answer is the model's reply instead.

    folder/answered.npy, (m,) int64, has for each of its rows the row of `pool`; reasons.jsonl has the rows without a
    reply. Scores and tags are left out: they are those of the answer that was replaced. What a model is asked is all
    that comes before the final assistant turn with text. Of an interrupted call the finished shards are kept.
    ValueError where no row has a reply.
    """
    start = time.perf_counter()
    notes = map_rows(pool, ReplyJob(settings, reference, seed), folder, runtime, progress, shard_rows=SHARD_ROWS)
    without = write_reasons(pool, folder, notes)
    if without == len(pool):
        first = next((why for note in notes for _, why in note["reasons"]), "there are no rows")
        raise ValueError(f"the model has no reply to any of {len(pool):,} rows: {first}")
    _write_rows(pool, folder, notes)
    replies = [one for note in notes for one in note["replies"]]
    return RepliesSummary(
        rows=len(pool),
        without_reply=without,
        empty=sum(not text.strip() for _, text, _, _ in replies),
        cut=sum(not ended for _, _, _, ended in replies),
        tokens=sum(tokens for _, _, tokens, _ in replies),
        prompt_tokens=notes.sum("prompt_tokens"),
        seconds=time.perf_counter() - start,
    )


def has_whole_replies(folder: Path) -> bool:
    """Whether finished replies still have the bytes that were written."""
    try:
        told = (folder / _DIGEST_FILE).read_text(encoding="utf-8")
        return told == _digest(folder)
    except FileNotFoundError:
        return False


def with_reply(row: Row, text: str) -> Row:
    """The row with `text` as its final answer, without what came after the answer that it had, or was said of it."""
    final = len(row.prompt_messages())
    messages = [*row.messages[:final], row.messages[final] | {"content": text}]
    return replace(row, messages=messages, tags=(), scores={})


def seed_of(row: Row, seed: int) -> int:
    """The seed of a row's drawn reply, which does not depend on the rows around it."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{row.id}".encode()).digest()[:8], "big")


@dataclass(frozen=True)
class ReplyJob:
    """The replies to rows."""

    names: ClassVar[tuple[str, ...]] = ()

    settings: ReplySettings
    reference: ModelRef
    seed: int

    def open(self) -> OpenJob:
        """Load the model and its tokenizer."""
        # Imported here, so that reading a config does not load torch.
        from siftune.selection.features.reply_model import OpenReplyJob

        return OpenReplyJob.load(self)


def _write_rows(pool: Pool, folder: Path, notes: Notes) -> None:
    partial, answered = folder / f"{ROWS_FILE}.partial", []
    with RowWriter(partial) as writer:
        for number, text in _texts(notes):
            answered.append(number)
            writer.write(with_reply(pool.row(number), text))
    partial.replace(folder / ROWS_FILE)
    content = io.BytesIO()
    np.save(content, np.array(answered, dtype=np.int64))
    write_whole(folder / ANSWERED_FILE, content.getvalue())
    write_whole(folder / _DIGEST_FILE, _digest(folder))


def _texts(notes: Notes) -> Iterator[tuple[int, str]]:
    for shard, note in enumerate(notes):
        rows = notes.rows(shard)
        for number, text, _, _ in note["replies"]:
            yield rows[number], text


def _digest(folder: Path) -> str:
    return " ".join(sha256_of(folder / name) for name in (ROWS_FILE, ANSWERED_FILE))
