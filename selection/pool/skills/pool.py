"""The generated pool `skills`: instruction conversations with checkable answers, from sources of different honesty.

Twelve skills, worded in many ways; 60% of the rows are right and distinct (sources handbook and workbench), the rest
are wrong answers (forum), near-duplicates (scrape) and chatter (smalltalk). Since the truth of every row is known, it
shows what a selection method picks. Rows are drawn one by one from the seed, so that any number can be had in constant
memory and a smaller pool is the beginning of a larger one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from statistics import fmean
from typing import Any

from siftune.selection.pool.skills import (
    arithmetic,
    dates,
    extraction,
    lists,
    numerals,
    patterns,
    ranking,
    shell,
    sql,
    strings,
    tables,
    units,
)
from siftune.selection.pool.skills.conversation import Conversation, Kind, Split, draw_conversation
from siftune.selection.pool.skills.skill import Skill, keyed_random
from siftune.selection.pool.source import PoolSource, Record

VERSION = "1"
"""Of the generator: raised with every change of what it writes, so that no older pool is taken for the new one."""

MODULES = (shell, sql, units, dates, lists, strings, tables, extraction, patterns, arithmetic, ranking, numerals)
SKILLS: Mapping[str, Skill] = {module.SKILL.name: module.SKILL for module in MODULES}

QUALITY: Mapping[Kind, float] = {"clean": 4.6, "near_duplicate": 4.3, "wrong": 3.3, "chatter": 2.6}
"""Mean quality score of a turn, as a scorer that is mostly right would give it; single turns vary by about 0.6."""
CHATTER_COMPLEXITY = 1.4


@dataclass(frozen=True, kw_only=True)
class SkillsPool(PoolSource):
    """Generated conversations of twelve skills, or of some of them."""

    name: str = field(default="skills", metadata={"identity": False})
    size: int = 4000
    """Number of conversations."""
    seed: int = 0
    """Seed of the generator."""
    split: Split = "pool"
    """"pool" has every kind of row; "query" and "heldout" have right answers only. No question occurs in two splits."""
    skills: tuple[str, ...] = ()
    """The skills to draw from; empty: all twelve."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 1:
            raise ValueError(f"pool.size={self.size} must be at least 1")
        for skill in self.skills:
            if skill not in SKILLS:
                near = difflib.get_close_matches(skill, SKILLS, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"pool.skills names {skill!r}, which is none of {', '.join(SKILLS)}{hint}")

    def inputs(self) -> dict[str, str]:
        """The generator's version: nothing is read."""
        return {"generator": VERSION}

    def conversations(self) -> Iterator[Conversation]:
        """The conversations with the facts behind them, one at a time."""
        skills = [SKILLS[name] for name in self.skills or SKILLS]
        for index in range(self.size):
            yield draw_conversation(self.seed, self.split, index, skills)

    def records(self) -> Iterator[Record]:
        """The conversations as rows; `file` says which generator, seed and split, `line` which row of it."""
        place = f"skills-{self.split}-seed{self.seed}"
        for line, conversation in enumerate(self.conversations(), 1):
            rng = keyed_random(self.seed, self.split, "scores", line)
            yield Record(self._value(conversation, rng), place, line)

    def _value(self, conversation: Conversation, rng: Random) -> dict[str, Any]:
        last = conversation.turns[-1] if conversation.turns else None
        return {
            "messages": _messages(conversation),
            "source": conversation.source,
            "tags": list(conversation.tags),
            "scores": self._scores(conversation, rng),
            "skill": last.skill.name if last else "chatter",
            "honest": conversation.kind != "wrong",
            "kind": conversation.kind,
            "answer": last.answer if last else None,
            "family": conversation.family,
        }

    def _scores(self, conversation: Conversation, rng: Random) -> dict[str, float]:
        """Quality and complexity from 1 to 6 (means over the turns), and their product reduced over the turns."""
        demands = [turn.skill.tasks[turn.task].complexity for turn in conversation.turns]
        demands = demands or [CHATTER_COMPLEXITY] * len(conversation.user)
        quality = [_noisy(rng, QUALITY[conversation.kind], 0.6) for _ in demands]
        complexity = [_noisy(rng, demand, 0.4) for demand in demands]
        products = [q * c for q, c in zip(quality, complexity, strict=True)]
        deita = sum(products) if self.turn_reduction == "sum" else fmean(products)
        scores = {"quality": fmean(quality), "complexity": fmean(complexity), "deita": deita}
        return {name: round(score, 3) for name, score in scores.items()}


def _messages(conversation: Conversation) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": conversation.system}] if conversation.system else []
    for user, assistant in zip(conversation.user, conversation.assistant, strict=True):
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return messages


def _noisy(rng: Random, mean: float, deviation: float) -> float:
    """`mean` with nearly normal noise, within 1 to 6; a sum of uniforms is the same on every machine, unlike gauss."""
    noise = sum(rng.random() for _ in range(12)) - 6
    return min(6.0, max(1.0, mean + deviation * noise))
