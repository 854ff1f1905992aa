"""Roman numerals and number bases, both ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

from siftune.selection.pool.skills.skill import Facts, FollowUp, Skill, Task, with_hints

ROMAN = (
    *((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC")),
    *((50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")),
)
VALUES = {letters: value for value, letters in ROMAN}
BASES = {2: "binary", 8: "octal", 16: "hexadecimal"}
SPELLED = re.compile(r"M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")


def to_roman(number: int) -> str:
    """1994 -> MCMXCIV, for 1 to 3999."""
    text = ""
    for value, letters in ROMAN:
        times, number = divmod(number, value)
        text += letters * times
    return text


def from_roman(text: str) -> int:
    """MCMXCIV -> 1994, a smaller letter before a larger one counting negative; 0 for what is no Roman numeral."""
    if not SPELLED.fullmatch(text):
        return 0
    values = [VALUES[letter] for letter in text]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))


def to_base(number: int, base: int) -> str:
    """Digits of `number` in base 2, 8 or 16, upper case, without prefix."""
    return format(number, {2: "b", 8: "o", 16: "X"}[base])


def _base_facts(rng: Random) -> Facts:
    base = rng.choice(sorted(BASES))
    return {"base": base, "number": rng.randrange(8, {2: 1024, 8: 4096, 16: 65536}[base])}


FACTS: Mapping[str, Callable[[Random], Facts]] = {
    "to_roman": lambda rng: {"number": rng.randrange(4, 4000)},
    "from_roman": lambda rng: {"number": rng.randrange(4, 4000)},
    "to_base": _base_facts,
    "from_base": _base_facts,
}
SOLVE: Mapping[str, Callable[[Facts], str]] = {
    "to_roman": lambda f: to_roman(f["number"]),
    "from_roman": lambda f: str(f["number"]),
    "to_base": lambda f: to_base(f["number"], f["base"]),
    "from_base": lambda f: str(f["number"]),
}
CHECK: Mapping[str, Callable[[Facts, str], bool]] = {
    "to_roman": lambda f, a: from_roman(a) == f["number"],
    "from_roman": lambda f, a: a.isdigit() and to_roman(int(a)) == to_roman(f["number"]),
    "to_base": lambda f, a: a == a.upper() and int(a, f["base"]) == f["number"],
    "from_base": lambda f, a: a.isdigit() and to_base(int(a), f["base"]) == to_base(f["number"], f["base"]),
}
ASKS: Mapping[str, tuple[str, ...]] = {
    "to_roman": (
        "Write {number} in Roman numerals.",
        "How do you write the year {number} in Roman numerals?",
        "We're engraving {number} on a stone. What are the Roman numerals for it?",
        "What is {number} as a Roman numeral?",
        "The film credits should say {number} in Roman numerals.",
    ),
    "from_roman": (
        "Which number is {roman}?",
        "The plaque says {roman}. What number is that?",
        "Read the Roman numeral {roman} for me.",
        "What does {roman} mean in ordinary digits?",
        "There is {roman} over the church door. What year is it?",
    ),
    "to_base": (
        "Convert {number} to {base}.",
        "What is the decimal number {number} in {base}?",
        "Write {number} in {base} digits.",
        "How is {number} represented in {base}?",
        "My calculator only does decimal. What is {number} in {base}?",
    ),
    "from_base": (
        "What is the {base} number {digits} in decimal?",
        "Convert {digits} from {base} to decimal.",
        "The register shows {digits} in {base}. What is that in decimal?",
        "Read {digits} as {base} and give me the decimal value.",
    ),
}
HINTS: Mapping[str, tuple[str, ...]] = {
    "to_roman": ("Capital letters only.", "Just the numeral.", "Reply with the numeral alone."),
    "from_roman": ("Just the number.", "Digits only.", "Answer in digits."),
    "to_base": (
        "No prefix, capital letters.",
        "Leave out any prefix and use capitals.",
        "Digits only, without 0x or 0b.",
    ),
    "from_base": ("Just the number.", "Digits only.", "Answer in plain digits."),
}


def _show(facts: Facts) -> dict[str, object]:
    shown = {**facts, "roman": to_roman(facts["number"])}
    if "base" in facts:
        shown |= {"base": BASES[facts["base"]], "digits": to_base(facts["number"], facts["base"])}
    return shown


def _wrong(name: str, rng: Random, facts: Facts) -> str:
    """The neighbour's value: off by a little, as from a misread digit."""
    shift = rng.choice((-2, -1, 1, 2, 3, 10))
    return SOLVE[name]({**facts, "number": max(1, facts["number"] + shift)})


def _next(rng: Random, facts: Facts) -> Facts:
    return {**facts, "number": facts["number"] + rng.choice((-3, -2, -1, 1, 2, 3))}


FOLLOW_UPS: Mapping[str, FollowUp] = {
    "to_roman": FollowUp(
        facts=lambda rng, facts: {"number": max(1, facts["number"] - rng.randrange(1, 20))},
        asks=("And {number}?", "What about {number}?", "Now {number}, please."),
    ),
    "from_roman": FollowUp(
        facts=lambda rng, facts: {"number": max(1, facts["number"] - rng.randrange(1, 20))},
        asks=("And {roman}?", "What about {roman}?", "There's also {roman}."),
    ),
    "to_base": FollowUp(facts=_next, asks=("And {number}?", "Same for {number}.", "What about {number}?")),
    "from_base": FollowUp(facts=_next, asks=("And {digits}?", "What about {digits}?")),
}


def _task(name: str) -> Task:
    return Task(
        facts=FACTS[name],
        answer=SOLVE[name],
        wrong=lambda rng, facts: _wrong(name, rng, facts),
        check=CHECK[name],
        asks=with_hints(ASKS[name], HINTS[name]),
        show=_show,
        tags=("roman numerals", "history") if "roman" in name else ("number bases", "computer science"),
        complexity=2.7,
        follow_ups=(FOLLOW_UPS[name],),
    )


SKILL = Skill(
    name="numerals",
    tags=("number representation",),
    contexts=(
        "I'm setting a pub quiz with {name}.",
        "We came across this in {city}.",
        "It's for a museum label.",
        "I'm revising for an exam.",
        "Old inscriptions confuse me.",
        "I want to be sure before it goes to print.",
    ),
    systems=("You convert numerals and reply with the result only.", "You are exact with numbers."),
    tasks={name: _task(name) for name in ASKS},
)
