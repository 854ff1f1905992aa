"""Tags written by a language model that is asked for them: InsTag (Lu et al. 2023, arXiv 2308.07074)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siftune.finetune.model_sources import Model, ModelRef
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.mapping import map_rows
from siftune.selection.features.runtimes.runtime import Runtime
from siftune.selection.features.shards import Block, Notes
from siftune.selection.features.taggers.tag_normalisation import TagNormalisation
from siftune.selection.features.taggers.tagger import NO_QUERY, Tagged, Tagging, TagText, text_to_tag
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from siftune.finetune.generate import ReplyGenerator

QUERY = "{query}"
INSTAGGER_PROMPT = (
    "Please identify tags of user intentions in the following user query and provide an explanation for each tag. "
    'Please respond in the JSON format {"tag": str, "explanation": str}.\nUser query: {query}'
)
"""What InsTagger was trained to answer: other words and it tags worse."""

SHARD_ROWS = 128
"""Fewer than where rows only pass through a model: a killed process loses at most so many replies."""


@dataclass(frozen=True, kw_only=True)
class GenerativeTagger:
    """A language model writes the tags of each row as JSON, which is read strictly; replies are greedy.

    Any model that follows instructions will do. A row whose reply is not the JSON asked for has no tag, and its reason
    quotes the reply.
    """

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""
    model: Model
    """The language model; the authors' is OFA-Sys/InsTagger (7B)."""
    prompt: str = INSTAGGER_PROMPT
    """The user's turn that asks for tags; {query} stands for the row's text."""
    text: TagText = "first_query"
    """first_query: the first user turn; InsTag tags queries, never answers. conversation: all turns."""
    max_query_tokens: int = 1024
    """Tokens beyond which the row's text is cut on the right; cut rows are counted. InsTagger has 2048 positions."""
    max_new_tokens: int = 512
    """Tokens after which a reply is cut, which leaves the row without tags. InsTagger explains each of its tags."""
    positions_per_batch: int | None = field(default=None, metadata={"identity": False})
    """Positions of a batch, prompt, padding and reply counted: does not change the result (beyond rounding).
    null: 8192 on a CPU, 32768 on a GPU."""
    normalise: TagNormalisation | None = field(default=None, metadata={"identity": False})
    """What becomes of the tags afterwards, in a stage of its own; null: nothing."""

    def __post_init__(self) -> None:
        for name in ("max_query_tokens", "max_new_tokens", "positions_per_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"tagger.{name}={value} must be at least 1")
        if self.prompt.count(QUERY) != 1:
            raise ValueError(f"tagger.prompt={self.prompt!r} must have {QUERY} once, where the row's text is put")

    def inputs(self) -> dict[str, str]:
        """Nothing besides the model."""
        return {}

    def tag(
        self, pool: Pool, reference: ModelRef | None, folder: Path, runtime: Runtime | None, progress: Progress
    ) -> Tagging:
        """Generate and read the replies; `folder` keeps those of finished shards."""
        from siftune.selection.features.taggers.tag_replies import problem_of

        assert reference is not None, "a generative tagger needs the reference of its model"
        notes = map_rows(pool, TagJob(self, reference), folder, runtime, progress, shard_rows=SHARD_ROWS)
        problems: Counter[str] = Counter()
        for note in notes:
            problems.update(problem_of(why) for _, why in note["reasons"])
        return Tagging(_tagged(notes), notes.sum("truncated"), notes.sum("tokens"), dict(problems.most_common()))


@dataclass(frozen=True)
class TagJob:
    """The tagging of rows."""

    tagger: GenerativeTagger
    reference: ModelRef
    """Where the tagger's model lies."""

    @property
    def names(self) -> tuple[str, ...]:
        """Tags are kept in the shards' notes: a row has as many as it has."""
        return ()

    def open(self) -> OpenTagJob:
        """Load the model and its tokenizer."""
        from siftune.finetune.decoding import Decoding
        from siftune.finetune.generate import ReplyGenerator
        from siftune.finetune.model import load_causal_lm, load_tokenizer

        tokenizer = load_tokenizer(self.reference)
        decoding = Decoding(
            max_new_tokens=self.tagger.max_new_tokens, positions_per_batch=self.tagger.positions_per_batch
        )
        generator = ReplyGenerator(load_causal_lm(self.reference), tokenizer, decoding)
        self._check_room(generator)
        return OpenTagJob(self.tagger, generator, tokenizer)

    def _check_room(self, generator: ReplyGenerator) -> None:
        """ValueError now rather than when the first long row comes."""
        tagger = self.tagger
        (asked,) = generator.encode([[{"role": "user", "content": tagger.prompt.replace(QUERY, "")}]])
        wanted = len(asked) + tagger.max_query_tokens + tagger.max_new_tokens
        if generator.room is not None and wanted > generator.room:
            raise ValueError(
                f"tagger.max_query_tokens={tagger.max_query_tokens} and tagger.max_new_tokens={tagger.max_new_tokens} "
                f"with the prompt's own {len(asked)} exceed the {generator.room} positions of {tagger.model.name}: "
                "set one of them lower"
            )


@dataclass(frozen=True)
class _Prompts:
    """The prompts of a shard's rows."""

    rows: list[int]
    """The rows that have a query."""
    tokens: list[list[int]]
    truncated: int


class OpenTagJob:
    """A loaded model that is asked for tags."""

    def __init__(self, tagger: GenerativeTagger, generator: ReplyGenerator, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tagger = tagger
        self._generator = generator
        self._tokenizer = tokenizer

    def prepare(self, rows: Sequence[Row]) -> _Prompts:
        """The prompts' tokens."""
        asked, prompts, truncated = [], [], 0
        for number, row in enumerate(rows):
            text = text_to_tag(row, self._tagger.text)
            if text is None:
                continue
            query = self._cut(text)
            truncated += len(query) < len(text)
            asked.append(number)
            prompts.append([{"role": "user", "content": self._tagger.prompt.replace(QUERY, query)}])
        return _Prompts(asked, self._generator.encode(prompts), truncated)

    def compute(self, rows: Sequence[Row], prepared: _Prompts, progress: Progress) -> Block:
        """The rows' tags, as the shard's note."""
        from siftune.selection.features.taggers.tag_replies import parse_tags

        progress(len(rows) - len(prepared.rows))
        replies = self._generator.generate(prepared.tokens, progress=progress)
        tagged = dict(zip(prepared.rows, map(parse_tags, replies), strict=True))
        tags = [tagged.get(number, Tagged((), NO_QUERY)) for number in range(len(rows))]
        note: dict[str, Any] = {
            "tags": [row.tags for row in tags],
            "reasons": [(number, row.why) for number, row in enumerate(tags) if not row.tags],
            "truncated": prepared.truncated,
            "tokens": sum(map(len, prepared.tokens)) + sum(reply.tokens for reply in replies),
        }
        return Block({}, note)

    def _cut(self, text: str) -> str:
        """The text's first max_query_tokens tokens, as text."""
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        offsets = encoded["offset_mapping"]
        most = self._tagger.max_query_tokens
        return text if len(offsets) <= most else text[: offsets[most - 1][1]]


def _tagged(notes: Notes) -> Iterator[Tagged]:
    for note in notes:
        reasons = dict(note["reasons"])
        for number, tags in enumerate(note["tags"]):
            yield Tagged(tuple(tags), reasons.get(number))
