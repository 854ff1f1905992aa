"""List manipulation: reverse, de-duplicate, every second item, common items, drop an item, join two lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from siftune.selection.pool.skills.skill import Facts, FollowUp, Skill, Task, with_hints
from siftune.selection.pool.skills.words import CITIES, COMMON_WORDS, FIRST_NAMES, FRUITS, PRODUCTS

KINDS = (CITIES, COMMON_WORDS, FIRST_NAMES, FRUITS, PRODUCTS)
HINTS = (
    "Separate the items with commas.",
    "Give me one line, separated by commas.",
    "Return a comma-separated list only.",
    "Reply with just the items and commas between them.",
)
COUNT_HINTS = ("Answer with a number.", "Just the number.", "Reply with one number only.")


def _items(rng: Random, low: int = 4, high: int = 7) -> list[str]:
    return rng.sample(rng.choice(KINDS), rng.randrange(low, high))


def _plain_facts(rng: Random) -> Facts:
    return {"items": _items(rng, 4, 8)}


def _repeated_facts(rng: Random) -> Facts:
    items = _items(rng, 3, 6)
    items += [rng.choice(items) for _ in range(rng.randrange(1, 4))]
    rng.shuffle(items)
    return {"items": items}


def _two_facts(rng: Random) -> Facts:
    words = rng.sample(rng.choice(KINDS), 8)
    shared = words[: rng.randrange(1, 4)]
    return {"items": _mixed(rng, shared + words[3:5]), "others": _mixed(rng, shared + words[5:7])}


def _mixed(rng: Random, items: list[str]) -> list[str]:
    return rng.sample(items, len(items))


def _item_facts(rng: Random) -> Facts:
    items = _items(rng, 4, 8)
    return {"items": items, "item": rng.choice(items)}


def _count_facts(rng: Random) -> Facts:
    items = _repeated_facts(rng)["items"]
    return {"items": items, "item": rng.choice(items)}


FACTS: Mapping[str, Callable[[Random], Facts]] = {
    "reverse": _plain_facts,
    "every_second": _plain_facts,
    "unique": _repeated_facts,
    "common": _two_facts,
    "difference": _two_facts,
    "remove": _item_facts,
    "count_item": _count_facts,
}
SOLVE: Mapping[str, Callable[[Facts], list[str]]] = {
    "reverse": lambda f: f["items"][::-1],
    "every_second": lambda f: f["items"][::2],
    "unique": lambda f: list(dict.fromkeys(f["items"])),
    "common": lambda f: [item for item in f["items"] if item in f["others"]],
    "difference": lambda f: [item for item in f["items"] if item not in f["others"]],
    "remove": lambda f: [item for item in f["items"] if item != f["item"]],
    "count_item": lambda f: [str(f["items"].count(f["item"]))],
}


def _in_order(answer: list[str], items: list[str]) -> bool:
    """Whether the answer is a subsequence of the items."""
    rest = iter(items)
    return all(item in rest for item in answer)


def _first_places(items: list[str]) -> list[tuple[str, int]]:
    """Each item with the place where it first occurs, by place."""
    places = {item: place for place, item in reversed(list(enumerate(items)))}
    return sorted(places.items(), key=lambda pair: pair[1])


CHECK: Mapping[str, Callable[[Facts, list[str]], bool]] = {
    "reverse": lambda f, a: len(a) == len(f["items"]) and all(a[-1 - i] == item for i, item in enumerate(f["items"])),
    "every_second": lambda f, a: a == [item for i, item in enumerate(f["items"], 1) if i % 2],
    "unique": lambda f, a: [(item, f["items"].index(item)) for item in a] == _first_places(f["items"]),
    "common": lambda f, a: set(a) == set(f["items"]) & set(f["others"]) and _in_order(a, f["items"]),
    "difference": lambda f, a: set(a) == set(f["items"]) - set(f["others"]) and _in_order(a, f["items"]),
    "remove": lambda f, a: Counter(a) == Counter(f["items"]) - Counter([f["item"]]) and _in_order(a, f["items"]),
    "count_item": lambda f, a: a == [str(Counter(f["items"])[f["item"]])],
}
ASKS: Mapping[str, tuple[str, ...]] = {
    "reverse": (
        "Put these in the opposite order: {items}.",
        "Reverse the list {items}.",
        "Read this list from the end to the beginning: {items}.",
        "I wrote them down the wrong way round: {items}. Turn the order about.",
    ),
    "every_second": (
        "Take every second item, beginning with the first: {items}.",
        "From {items}, keep the first, third, fifth and so on.",
        "Drop every other item, starting with the second, from {items}.",
    ),
    "unique": (
        "Remove the repeats and keep the first of each: {items}.",
        "Somebody entered things twice. Clean up {items}, in the order of first appearance.",
        "List each entry once, in the order given: {items}.",
        "De-duplicate {items} without changing the order.",
    ),
    "common": (
        "Which entries of the first list are in the second too? First: {items}. Second: {others}. Keep the order.",
        "We have {items} in one box and {others} in another. What is in both, in the order of the first box?",
        "Compare {items} with {others} and list what they share, ordered as in the first.",
    ),
    "difference": (
        "Which entries of {items} are missing from {others}? Keep their order.",
        "Take out of {items} whatever also occurs in {others}. Leave the order alone.",
        "On the plan are {items}. Done are {others}. What is still open, in the order of the plan?",
    ),
    "remove": (
        "Take {item} out of {items}.",
        "We no longer need {item}. What is left of {items}, in the same order?",
        "Here is our list: {items}. Cross out {item} and write the rest.",
        "Without {item}, what does {items} look like?",
    ),
    "count_item": (
        "How often does {item} occur in {items}?",
        "Count how many times {item} is in this list: {items}.",
        "In {items}, how many entries are {item}?",
    ),
}


def _show(facts: Facts) -> dict[str, Any]:
    return {field: value if isinstance(value, str) else ", ".join(value) for field, value in facts.items()}


def _wrong(name: str, rng: Random, facts: Facts) -> str:
    """An item too few, two that changed places, or nothing done at all."""
    right = SOLVE[name](facts)
    if name == "count_item":
        return str(int(right[0]) + rng.choice((1, 2)))
    options = [facts["items"], sorted(facts["items"]), right[:-1], right[1:], right[1::-1] + right[2:]]
    return ", ".join(rng.choice([option for option in options if option and option != right]))


def _of_answer(facts: Facts) -> Facts:
    """The first answer as the next list; the items it is to be compared with stay out."""
    return {"items": facts["items"][::-1]}


FOLLOW_UPS: Mapping[str, tuple[FollowUp, ...]] = {
    "reverse": (
        FollowUp(
            task="every_second",
            facts=lambda rng, facts: _of_answer(facts),
            asks=(
                "From that, keep only the first, third, fifth and so on.",
                "Now every second one of those, from the first.",
            ),
        ),
    ),
    "remove": (
        FollowUp(
            facts=lambda rng, facts: _remove_next(rng, facts),
            asks=("And take out {item} as well.", "Now {item} too, please."),
        ),
    ),
}


def _remove_next(rng: Random, facts: Facts) -> Facts:
    left = SOLVE["remove"](facts)
    return {"items": left, "item": rng.choice(left)}


def _task(name: str) -> Task:
    return Task(
        facts=FACTS[name],
        answer=lambda facts: ", ".join(SOLVE[name](facts)),
        wrong=lambda rng, facts: _wrong(name, rng, facts),
        check=lambda facts, answer: CHECK[name](facts, answer.split(", ")),
        asks=with_hints(ASKS[name], COUNT_HINTS if name == "count_item" else HINTS),
        show=_show,
        tags=("data cleaning",) if name in ("unique", "remove") else ("comparison",) if name == "common" else (),
        complexity=2.9 if name in ("common", "difference") else 2.1,
        follow_ups=FOLLOW_UPS.get(name, ()),
    )


SKILL = Skill(
    name="lists",
    tags=("list manipulation",),
    contexts=(
        "I'm merging notes from two colleagues at {company}.",
        "{name} sent me this by e-mail.",
        "It's for the packing plan.",
        "We're putting together a hand-out.",
        "This came out of a form.",
        "I have to paste the result into a spreadsheet.",
    ),
    systems=("You edit lists. Return only the resulting list.", "You are a tidy office assistant."),
    tasks={name: _task(name) for name in ASKS},
)
