"""A loaded model that answers the prompts of rows: the part of the replies that runs the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from siftune.finetune.chat import ChatTemplateError
from siftune.finetune.generate import ReplyGenerator
from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.shards import Block
from siftune.selection.pool.rows import Row

if TYPE_CHECKING:
    from siftune.selection.features.replies import ReplyJob

NO_PROMPT = "nothing comes before the answer that the model could be asked"


@dataclass(frozen=True)
class _Prompts:
    """What a shard's rows ask."""

    rows: list[int]
    """The rows of the shard that ask something the model has room to answer."""
    tokens: list[list[int]]
    seeds: list[int]
    reasons: list[tuple[int, str]]
    """The other rows, and why they have no reply."""


class OpenReplyJob:
    """A loaded model that is asked for replies."""

    def __init__(self, job: ReplyJob, generator: ReplyGenerator) -> None:
        self._job = job
        self._generator = generator

    @classmethod
    def load(cls, job: ReplyJob) -> OpenReplyJob:
        """Load the model, an adapter added into its weights, and its tokenizer."""
        model, tokenizer = load_causal_lm(job.reference, merged=True), load_tokenizer(job.reference)
        return cls(job, ReplyGenerator(model, tokenizer, job.settings.decoding))

    def prepare(self, rows: Sequence[Row]) -> _Prompts:
        """The prompts' tokens."""
        from siftune.selection.features.replies import seed_of

        found = _Prompts([], [], [], [])
        for number, row in enumerate(rows):
            tokens = self._tokens(row)
            problem = self._problem(tokens)
            if problem is None:
                found.rows.append(number)
                found.tokens.append(tokens)
                found.seeds.append(seed_of(row, self._job.seed))
            else:
                found.reasons.append((number, problem))
        return found

    def compute(self, rows: Sequence[Row], prepared: _Prompts, progress: Progress) -> Block:
        """The rows' replies, as the shard's note."""
        progress(len(prepared.reasons))
        replies = self._generator.generate(prepared.tokens, prepared.seeds, progress)
        note: dict[str, Any] = {
            "replies": [
                [number, one.text, one.tokens, one.ended] for number, one in zip(prepared.rows, replies, strict=True)
            ],
            "reasons": prepared.reasons,
            "prompt_tokens": sum(map(len, prepared.tokens)),
        }
        return Block({}, note)

    def _tokens(self, row: Row) -> list[int]:
        prompt = row.prompt_messages()
        try:
            return self._generator.encode([prompt])[0] if prompt else []
        except ChatTemplateError as error:
            raise ChatTemplateError(f"row {row.id} (source {row.source}): {error}") from error

    def _problem(self, tokens: Sequence[int]) -> str | None:
        if not tokens:
            return NO_PROMPT
        room, longest = self._generator.room, self._job.settings.max_new_tokens
        if room is not None and len(tokens) + longest > room:
            return f"a prompt of {len(tokens):,} tokens: with max_new_tokens={longest:,} it exceeds {room:,} positions"
        return None
