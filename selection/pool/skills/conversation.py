"""Conversations of known truth: drawn from a skill or small talk, in the voice and with the honesty of a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from siftune.selection.pool.skills.chatter import draw_chat
from siftune.selection.pool.skills.skill import Skill, Turn, digest, draw_follow_up, draw_turn, keyed_random
from siftune.selection.pool.skills.wording import VOICES, compose, edit

Kind = Literal["clean", "wrong", "near_duplicate", "chatter"]
Split = Literal["pool", "query", "heldout"]

KINDS: Mapping[str, Kind] = {
    "handbook": "clean",
    "workbench": "clean",
    "forum": "wrong",
    "scrape": "near_duplicate",
    "smalltalk": "chatter",
}
"""What the rows of each source are."""
SHARES: Mapping[str, float] = {"handbook": 0.3, "workbench": 0.3, "forum": 0.13, "scrape": 0.14, "smalltalk": 0.13}
"""Each source's share of the pool. Over twelve skills, two of them make up 14.5% of the pool and 10% of it is clean."""
FOLLOW_UP_SHARE = 0.2
"""Of the questions, how many get a second one where the task has any (about 16% of all)."""
SYSTEM_SHARE = 0.12
FAMILY_BLOCK = 48
"""Scraped rows within so many rows of the pool are copies of one conversation: 6 or 7 of them."""
SPLIT_BUCKETS: Mapping[Split, range] = {"query": range(0, 1), "heldout": range(1, 2), "pool": range(2, 10)}
"""The tenths of all questions that each split may ask: by the hash of the facts, so that splits share no question."""


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """A conversation and all that is known about it."""

    source: str
    kind: Kind
    family: str
    """The same for conversations that open with the same question, however it is worded."""
    user: tuple[str, ...]
    """What the user says, turn by turn."""
    assistant: tuple[str, ...]
    turns: tuple[Turn, ...] = ()
    """The questions behind it; none for small talk."""
    system: str | None = None
    tags: tuple[str, ...]


def split_of(turn: Turn) -> Split:
    """The split that a question belongs to."""
    bucket = int(turn.key, 16) % 10
    return next(split for split, buckets in SPLIT_BUCKETS.items() if bucket in buckets)


def draw_conversation(seed: int, split: Split, index: int, skills: Sequence[Skill]) -> Conversation:
    """Row `index` of the split: it depends on the arguments alone, not on the rows before it."""
    rng = keyed_random(seed, split, index)
    source = _source(rng, split)
    if source == "smalltalk":
        chat = draw_chat(rng)
        family = digest("chatter", *chat.lines)
        user, assistant = chat.lines[::2], chat.lines[1::2]
        return Conversation(
            source=source, kind="chatter", family=family, tags=chat.tags, user=user, assistant=assistant
        )
    if source != "scrape":
        return _draw_asked(rng, source, _first_turn(rng, split, index, skills))
    original = keyed_random(seed, split, "family", index // FAMILY_BLOCK)
    first = _first_turn(original, split, index, skills)
    return _draw_asked(original, source, first, edits=rng)


def _source(rng: Random, split: Split) -> str:
    names = [name for name in SHARES if split == "pool" or KINDS[name] == "clean"]
    point = rng.random() * sum(SHARES[name] for name in names)
    for name in names:
        point -= SHARES[name]
        if point < 0:
            return name
    return names[-1]


def _first_turn(rng: Random, split: Split, index: int, skills: Sequence[Skill]) -> Turn:
    """A question of the split; queries and held-out rows go round the skills and their tasks, a few rows cover all."""
    skill = skills[index % len(skills)] if split != "pool" else rng.choice(skills)
    tasks = list(skill.tasks)
    name = tasks[index // len(skills) % len(tasks)] if split != "pool" else rng.choice(tasks)
    while True:
        turn = draw_turn(rng, skill, name)
        if split_of(turn) == split:
            return turn


def _draw_asked(rng: Random, source: str, first: Turn, edits: Random | None = None) -> Conversation:
    """The question in the source's voice, perhaps with a system turn and a second question; `edits` alters words."""
    text = compose(rng, VOICES[source], first.skill, first.ask)
    system = rng.choice(first.skill.systems) if rng.random() < SYSTEM_SHARE else None
    second = draw_follow_up(rng, first) if rng.random() < FOLLOW_UP_SHARE else None
    turns = (first,) if second is None else (first, second)
    if edits is not None:
        text = edit(edits, text)
    opening = f"{text}\n\n{first.block}" if first.block else text
    return Conversation(
        source=source,
        kind=KINDS[source],
        family=first.key,
        user=(opening, *(turn.ask for turn in turns[1:])),
        assistant=tuple(_reply(rng, turn, KINDS[source]) for turn in turns),
        turns=turns,
        system=system,
        tags=_tags(rng, turns),
    )


def _reply(rng: Random, turn: Turn, kind: Kind) -> str:
    if kind != "wrong":
        return turn.answer
    return turn.skill.tasks[turn.task].wrong(rng, turn.facts)


def _tags(rng: Random, turns: tuple[Turn, ...]) -> tuple[str, ...]:
    """The skill's tags and the tasks' own; now and then the last is missing, as from a tagger that overlooked it."""
    tags = dict.fromkeys(turns[0].skill.tags)
    for turn in turns:
        tags |= dict.fromkeys(turn.skill.tasks[turn.task].tags)
    found = tuple(tags)
    return found[:-1] if len(found) > 1 and rng.random() < 0.1 else found
