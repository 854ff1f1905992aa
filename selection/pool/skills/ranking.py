"""Sorting and ranking: numbers up or down, words by the alphabet, people by a score, the n-th of an order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from itertools import pairwise
from random import Random
from typing import Any

from siftune.selection.pool.skills.skill import Decor, Facts, FollowUp, Skill, Task, with_hints
from siftune.selection.pool.skills.words import CITIES, COMMON_WORDS, FIRST_NAMES, FRUITS, PRODUCTS

LIST_HINTS = (
    "Separate them with commas.",
    "One line, comma-separated.",
    "Return only the list, with commas.",
    "Just the list with commas, please.",
)
ONE_HINTS = ("Only that one, please.", "Give me nothing else.", "Answer with just that.")
ORDINALS = {2: "second", 3: "third", 4: "fourth"}


def _number_facts(rng: Random) -> Facts:
    return {"items": rng.sample(range(2, rng.choice((60, 100, 1000))), rng.randrange(5, 8))}


def _word_facts(rng: Random) -> Facts:
    return {"items": rng.sample(rng.choice((CITIES, COMMON_WORDS, FIRST_NAMES, FRUITS, PRODUCTS)), rng.randrange(4, 8))}


def _score_facts(rng: Random) -> Facts:
    count = rng.randrange(3, 6)
    scores = rng.sample(range(12, 99), count)
    return {"scores": [list(pair) for pair in zip(rng.sample(FIRST_NAMES, count), scores, strict=True)]}


def _position_facts(rng: Random) -> Facts:
    return {**_number_facts(rng), "position": rng.randrange(2, 5)}


FACTS: Mapping[str, Callable[[Random], Facts]] = {
    "ascending": _number_facts,
    "descending": _number_facts,
    "alphabetical": _word_facts,
    "by_score": _score_facts,
    "podium": _score_facts,
    "nth_largest": _position_facts,
}
SOLVE: Mapping[str, Callable[[Facts], list[Any]]] = {
    "ascending": lambda f: sorted(f["items"]),
    "descending": lambda f: sorted(f["items"], reverse=True),
    "alphabetical": lambda f: sorted(f["items"]),
    "by_score": lambda f: [name for name, score in sorted(f["scores"], key=lambda pair: -pair[1])],
    "podium": lambda f: [max(f["scores"], key=lambda pair: pair[1])[0]],
    "nth_largest": lambda f: [heapq.nlargest(f["position"], f["items"])[-1]],
}


def _ordered(answer: list[str], items: list[Any], key: Callable[[str], Any]) -> bool:
    """Whether the answer holds exactly the items, each before those with a larger key."""
    keys = [key(item) for item in answer]
    return sorted(answer) == sorted(map(str, items)) and all(a < b for a, b in pairwise(keys))


CHECK: Mapping[str, Callable[[Facts, list[str]], bool]] = {
    "ascending": lambda f, a: _ordered(a, f["items"], int),
    "descending": lambda f, a: _ordered(a, f["items"], lambda item: -int(item)),
    "alphabetical": lambda f, a: _ordered(a, f["items"], str),
    "by_score": lambda f, a: _ordered(a, [name for name, _ in f["scores"]], lambda name: -dict(f["scores"])[name]),
    "podium": lambda f, a: all(dict(f["scores"])[a[0]] >= score for _, score in f["scores"]),
    "nth_largest": lambda f, a: sum(item > int(a[0]) for item in f["items"]) == f["position"] - 1,
}
ASKS: Mapping[str, tuple[str, ...]] = {
    "ascending": (
        "Sort these numbers from smallest to largest: {items}.",
        "Put {items} in ascending order.",
        "Arrange {items} so that the smallest comes first.",
        "What is {items} in increasing order?",
    ),
    "descending": (
        "Sort these numbers from largest to smallest: {items}.",
        "Put {items} in descending order.",
        "Arrange {items} with the biggest number first.",
        "What do I get when I order {items} from high to low?",
    ),
    "alphabetical": (
        "Sort alphabetically: {items}.",
        "Put {items} in alphabetical order.",
        "Arrange these from A to Z: {items}.",
        "The index should list {items} by the alphabet.",
    ),
    "by_score": (
        "Rank them by {measure}, highest first: {scores}.",
        "Here are the results by {measure}: {scores}. List the names from best to worst, where more is better.",
        "Order the names from the highest to the lowest {measure}: {scores}.",
    ),
    "podium": (
        "Who won? The most {measure} wins: {scores}.",
        "The {measure} are in: {scores}. Which name has the highest figure?",
        "Out of {scores}, who has the most {measure}?",
    ),
    "nth_largest": (
        "What is the {position} largest of {items}?",
        "In {items}, which number is the {position} largest?",
        "From {items}, pick the number that comes {position} when counting down from the largest.",
    ),
}
DECOR: Decor = {"measure": ("points", "votes", "sales", "goals", "credits", "laps")}


def _show(facts: Facts) -> dict[str, Any]:
    if "scores" in facts:
        return {"scores": ", ".join(f"{name} {score}" for name, score in facts["scores"])}
    shown: dict[str, Any] = {"items": ", ".join(map(str, facts["items"]))}
    return shown | ({"position": ORDINALS[facts["position"]]} if "position" in facts else {})


def _wrong(name: str, rng: Random, facts: Facts) -> str:
    """Two neighbours in the wrong order, the order turned about, or another item."""
    right = SOLVE[name](facts)
    if name in ("podium", "nth_largest"):
        items = facts["items"] if name == "nth_largest" else [pair[0] for pair in facts["scores"]]
        return str(rng.choice([item for item in items if item != right[0]]))
    place = rng.randrange(len(right) - 1)
    swapped = [*right[:place], right[place + 1], right[place], *right[place + 2 :]]
    return ", ".join(map(str, rng.choice((swapped, right[::-1], right[:-1]))))


FOLLOW_UPS: Mapping[str, FollowUp] = {
    "ascending": FollowUp(
        task="descending",
        facts=lambda rng, facts: facts,
        asks=("Now the other way round.", "And from largest to smallest?", "Turn that into descending order."),
    ),
    "descending": FollowUp(
        task="ascending",
        facts=lambda rng, facts: facts,
        asks=("Now the other way round.", "And from smallest to largest?", "Now smallest first, please."),
    ),
    "by_score": FollowUp(
        task="podium",
        facts=lambda rng, facts: facts,
        asks=("So who came first? Just the name.", "And the winner? Name only."),
    ),
}


def _task(name: str) -> Task:
    single = name in ("podium", "nth_largest")
    return Task(
        facts=FACTS[name],
        answer=lambda facts: ", ".join(map(str, SOLVE[name](facts))),
        wrong=lambda rng, facts: _wrong(name, rng, facts),
        check=lambda facts, answer: CHECK[name](facts, answer.split(", ")),
        asks=with_hints(ASKS[name], ONE_HINTS if single else LIST_HINTS),
        show=_show,
        decor=DECOR,
        tags=("comparison",) if single else ("list manipulation",),
        complexity=2.4 if name == "by_score" else 1.9,
        follow_ups=(FOLLOW_UPS[name],) if name in FOLLOW_UPS else (),
    )


SKILL = Skill(
    name="ranking",
    tags=("sorting",),
    contexts=(
        "We ran a small contest at {company}.",
        "I'm preparing the notice board.",
        "{name} gave me these in no order at all.",
        "It's for the club's newsletter.",
        "I'm making a summary for the office in {city}.",
        "I have too many of these to do by eye.",
    ),
    systems=("You sort and rank. Reply with the result only.", "You are a careful office assistant."),
    tasks={name: _task(name) for name in ASKS},
)
