"""What a skill is: tasks that draw facts, word a question, know the right answer, and check any answer anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from siftune.selection.pool.skills.words import CITIES, COMPANIES, FIRST_NAMES, HOSTS

Facts = Mapping[str, Any]
"""All that the answer follows from, JSON-able; every value can be read from every wording of the question."""
Decor = Mapping[str, tuple[str, ...]]
"""Words that the answer does not depend on (a name, a thing): field of a wording -> what may stand there."""

EVERYWHERE: Decor = {"name": FIRST_NAMES, "company": COMPANIES, "city": CITIES, "host": HOSTS}
"""What any wording may mention."""


class Filling(dict[str, Any]):
    """The fields of a wording: those given, and each field of decor drawn when a wording first names it."""

    def __init__(self, rng: Random, given: Mapping[str, Any], decor: Decor) -> None:
        super().__init__(given)
        self._rng, self._decor = rng, decor

    def __missing__(self, field: str) -> str:
        options = self._decor[field] if field in self._decor else EVERYWHERE[field]
        self[field] = self._rng.choice(options)
        return str(self[field])


def as_worded(facts: Facts) -> Mapping[str, Any]:
    """Facts that the wording can use as they are."""
    return facts


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """A second question that makes sense only after the first answer."""

    facts: Callable[[Random, Facts], Facts]
    """The second question's facts, from the first's."""
    asks: tuple[str, ...]
    task: str | None = None
    """The task that the second question belongs to; None: the same one."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One kind of question within a skill."""

    facts: Callable[[Random], Facts]
    answer: Callable[[Facts], str]
    wrong: Callable[[Random, Facts], str]
    """A plausible answer that is false."""
    check: Callable[[Facts, str], bool]
    """Whether an answer is right, found by another way than `answer` takes."""
    asks: tuple[str, ...]
    """Wordings, with the shown facts in braces."""
    blocks: tuple[str, ...] = ("",)
    """What stands apart from the sentence: a schema, a table, a passage."""
    show: Callable[[Facts], Mapping[str, Any]] = as_worded
    """The facts as the wordings spell them."""
    decor: Decor = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    complexity: float = 2.5
    """How demanding the instruction is, from 1 to 6."""
    follow_ups: tuple[FollowUp, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Skill:
    """A family of tasks that share a subject."""

    name: str
    tags: tuple[str, ...]
    contexts: tuple[str, ...]
    """Sentences that somebody with such a question might put before it."""
    systems: tuple[str, ...]
    """System turns that suit the skill."""
    tasks: Mapping[str, Task]


@dataclass(frozen=True)
class Turn:
    """One question and its true answer, with the facts it follows from."""

    skill: Skill
    task: str
    facts: Facts
    ask: str
    answer: str
    block: str = ""

    @property
    def key(self) -> str:
        """The same for two questions if and only if they ask the same thing (16 hex digits)."""
        return digest(self.skill.name, self.task, json.dumps(self.facts, sort_keys=True, ensure_ascii=False))

    def check(self, answer: str) -> bool:
        """Whether `answer` is right, by the task's independent check."""
        return self.skill.tasks[self.task].check(self.facts, answer)


def digest(*parts: object) -> str:
    """16 hex digits that depend on the parts alone, in every process and on every machine."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]


def keyed_random(*parts: object) -> Random:
    """A generator that depends on the parts alone."""
    return Random(int(digest(*parts), 16))


def draw_turn(rng: Random, skill: Skill, name: str) -> Turn:
    """A first question of the task `name`."""
    task = skill.tasks[name]
    return _worded(rng, skill, name, task.facts(rng), task.asks, rng.choice(task.blocks))


def draw_follow_up(rng: Random, first: Turn) -> Turn | None:
    """A second question about the first answer; None where the task has none."""
    options = first.skill.tasks[first.task].follow_ups
    if not options:
        return None
    follow_up = rng.choice(options)
    facts = follow_up.facts(rng, first.facts)
    return _worded(rng, first.skill, follow_up.task or first.task, facts, follow_up.asks, "")


def _worded(rng: Random, skill: Skill, name: str, facts: Facts, asks: tuple[str, ...], block: str) -> Turn:
    task = skill.tasks[name]
    filling = Filling(rng, task.show(facts), task.decor)
    ask = rng.choice(asks).format_map(filling)
    return Turn(skill, name, facts, ask, task.answer(facts), block.format_map(filling))


def phrasings(frames: tuple[str, ...], actions: tuple[str, ...]) -> tuple[str, ...]:
    """Every frame with every action in its place: {do} as it is, {Do} with a capital."""
    return tuple(
        frame.replace("{do}", action).replace("{Do}", action[0].upper() + action[1:])
        for frame in frames
        for action in actions
    )


def with_hints(asks: tuple[str, ...], hints: tuple[str, ...]) -> tuple[str, ...]:
    """Every question followed by every statement of the answer's form."""
    return tuple(f"{ask} {hint}" for ask in asks for hint in hints)
