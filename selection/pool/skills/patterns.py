r"""Regular expressions from descriptions, in a stated style: anchored, \d, [A-Z] and [a-z], counts in braces."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from siftune.selection.pool.skills.skill import Facts, FollowUp, Skill, Task, phrasings, with_hints
from siftune.selection.pool.skills.words import COMMON_WORDS, STEMS, TEXT_EXTENSIONS

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SEPARATORS = {"-": "a hyphen", "_": "an underscore", "/": "a slash", ":": "a colon", "#": "a hash sign", "": ""}
DIGIT = r"\d"
CLASSES = {
    DIGIT: ("digit", "digits"),
    "[A-Z]": ("capital letter", "capital letters"),
    "[a-z]": ("small letter", "small letters"),
}
SAMPLES = {DIGIT: "0123456789", "[A-Z]": "ABCXYZ", "[a-z]": "abcxyz"}
PREFIXES = ("INV", "ORD", "REF", "TKT", "CUST", "SKU", "BOX", "LOT", "REQ", "PAY", "TAX", "DOC", "CASE", "ROOM", "GATE")

FRAMES = (
    "Write a regular expression for {do}.",
    "I need a regex that matches {do}.",
    "What regex matches {do}?",
    "Give me a pattern for {do}.",
    "Our form should only accept {do}. Which regex do I use?",
    "Validate {do} with a regular expression.",
    "How would you match {do} with a regex?",
    "Please write the regex: it must match {do} and nothing else.",
    "Which regular expression accepts just {do}?",
)
HINTS = (
    r"Use ^ and $, \d for digits, and [A-Z] or [a-z] for letters.",
    r"Anchor it with ^ and $ and write \d, [A-Z], [a-z] for the classes.",
    r"Style: anchored with ^ and $, classes \d, [A-Z] and [a-z].",
    r"Pattern only, anchored with ^ and $, in the notation \d, [A-Z], [a-z].",
)


def _run(symbol: str, count: int, most: int | None = None) -> str:
    r"""\d{3}, \d{2,5}, or \d alone for one."""
    if most is not None:
        return f"{symbol}{{{count},{most}}}"
    return symbol if count == 1 else f"{symbol}{{{count}}}"


def _amount(symbol: str, count: int) -> str:
    return f"{NUMBERS[count]} {CLASSES[symbol][count != 1]}"


def _prefix_facts(rng: Random) -> Facts:
    fields = {"prefix": rng.choice(PREFIXES), "separator": rng.choice("-_/:#")}
    return {**fields, "symbol": rng.choice(sorted(CLASSES)), "count": rng.randrange(1, 10)}


def _blocks_facts(rng: Random) -> Facts:
    symbols = rng.sample(sorted(CLASSES), 2)
    counts = [rng.randrange(1, 8), rng.randrange(1, 8)]
    return {"symbols": symbols, "counts": counts, "separator": rng.choice(sorted(SEPARATORS))}


def _file_facts(rng: Random) -> Facts:
    return {"stem": rng.choice(STEMS), "count": rng.randrange(1, 9), "extension": rng.choice(TEXT_EXTENSIONS)}


def _choice_facts(rng: Random) -> Facts:
    return {"words": rng.sample(COMMON_WORDS, rng.choice((2, 3)))}


def _range_facts(rng: Random) -> Facts:
    least = rng.randrange(1, 7)
    return {"symbol": rng.choice(sorted(CLASSES)), "least": least, "most": rng.randrange(least + 1, 10)}


FACTS: Mapping[str, Callable[[Random], Facts]] = {
    "prefix": _prefix_facts,
    "blocks": _blocks_facts,
    "file": _file_facts,
    "choice": _choice_facts,
    "range": _range_facts,
}


def _pattern(name: str, f: Facts) -> str:
    if name == "prefix":
        return f"^{f['prefix']}{f['separator']}{_run(f['symbol'], f['count'])}$"
    if name == "blocks":
        first, second = (_run(symbol, count) for symbol, count in zip(f["symbols"], f["counts"], strict=True))
        return f"^{first}{f['separator']}{second}$"
    if name == "file":
        return rf"^{f['stem']}{_run(DIGIT, f['count'])}\.{f['extension']}$"
    if name == "choice":
        return f"^({'|'.join(f['words'])})$"
    return f"^{_run(f['symbol'], f['least'], f['most'])}$"


def _text(symbol: str, count: int) -> str:
    """`count` characters of the class."""
    return "".join(SAMPLES[symbol][i % len(SAMPLES[symbol])] for i in range(count))


def examples(name: str, f: Facts) -> tuple[list[str], list[str]]:
    """Texts that the pattern must match, and texts close to them that it must not."""
    if name == "prefix":
        start = f["prefix"] + f["separator"]
        good = [start + _text(f["symbol"], f["count"])]
        bad = [start + _text(f["symbol"], f["count"] + more) for more in (-1, 1)]
        return good, [*bad, f["prefix"].lower() + good[0][len(f["prefix"]) :], f["prefix"] + good[0][len(start) :]]
    if name == "blocks":
        (a, b), (m, n) = f["symbols"], f["counts"]
        good = [_text(a, m) + f["separator"] + _text(b, n)]
        return good, [
            good[0] + _text(b, 1),
            _text(a, 1) + good[0],
            _text(b, n) + f["separator"] + _text(a, m),
            good[0][:-1],
        ]
    if name == "file":
        good = [f"{f['stem']}{_text(DIGIT, f['count'])}.{f['extension']}"]
        return good, [
            good[0].replace(".", "x"),
            good[0].replace(f["stem"], f["stem"] + "7"),
            f"{good[0]}.bak",
            "my" + good[0],
        ]
    if name == "choice":
        return list(f["words"]), [f["words"][0] + "s", "a" + f["words"][1], "".join(f["words"]), f["words"][0].upper()]
    good = [_text(f["symbol"], count) for count in range(f["least"], f["most"] + 1)]
    return good, [_text(f["symbol"], f["least"] - 1), _text(f["symbol"], f["most"] + 1), good[0] + " "]


def _check(name: str, facts: Facts, answer: str) -> bool:
    """The stated style, and the pattern accepts and refuses what it must."""
    good, bad = examples(name, facts)
    compiled = re.compile(answer)
    accepts = all(compiled.search(text) for text in good) and not any(compiled.search(text) for text in bad)
    return accepts and answer == _pattern(name, facts)


ACTIONS: Mapping[str, tuple[str, ...]] = {
    "prefix": (
        "codes made of {prefix}, {separator} and exactly {amount}",
        "{prefix} followed by {separator} and {amount}",
        "numbers of the kind {prefix}, then {separator}, then {amount}",
    ),
    "blocks": (
        "{first}{then} and {second}",
        "codes that consist of {first}{then} and {second}",
        "a label of {first}{then} and last {second}",
    ),
    "file": (
        "file names like {stem}, {amount} and the extension .{extension}",
        "files called {stem} plus {amount}, ending in .{extension}",
        "{stem} files with {amount} before .{extension}",
    ),
    "choice": (
        "one of the words {words}",
        "any of these words as a group of alternatives, in this order: {words}",
        "exactly one word out of {words}",
    ),
    "range": (
        "between {low} and {high}",
        "at least {low} and at most {high}",
        "a run of {low} to {high}",
    ),
}


def _show(name: str, f: Facts) -> Mapping[str, Any]:
    if name == "blocks":
        first, second = (_amount(symbol, count) for symbol, count in zip(f["symbols"], f["counts"], strict=True))
        separator = SEPARATORS[f["separator"]]
        return {"first": first, "second": second, "then": f", {separator}" if separator else ""}
    if name == "choice":
        *first, last = f["words"]
        return {"words": f"{', '.join(first)} or {last}"}
    if name == "range":
        return {"low": NUMBERS[f["least"]], "high": _amount(f["symbol"], f["most"])}
    shown = {**f, "amount": _amount(f.get("symbol", DIGIT), f["count"])}
    return shown | ({"separator": SEPARATORS[f["separator"]]} if "separator" in f else {})


def _wrong(name: str, rng: Random, facts: Facts) -> str:
    """An end left open, a class mixed up, or a count that is off."""
    right = _pattern(name, facts)
    options = {right[1:], right[:-1], right.replace("$", ".*$"), right.replace("^", "^.*")}
    options |= {right.replace(DIGIT, r"\w"), right.replace("[A-Z]", "[a-z]"), right.replace("}", "0}")}
    return rng.choice(sorted(options - {right}))


def _recount(rng: Random, facts: Facts) -> Facts:
    return {**facts, "count": rng.choice([count for count in range(1, 10) if count != facts["count"]])}


FOLLOW_UP = FollowUp(
    facts=_recount,
    asks=("And with {amount}?", "Sorry, it should be {amount}.", "Now make it {amount} instead."),
)


def _task(name: str) -> Task:
    return Task(
        facts=FACTS[name],
        answer=lambda facts: _pattern(name, facts),
        wrong=lambda rng, facts: _wrong(name, rng, facts),
        check=lambda facts, answer: _check(name, facts, answer),
        asks=with_hints(phrasings(FRAMES, ACTIONS[name]), HINTS),
        show=lambda facts: _show(name, facts),
        tags=("file management",) if name == "file" else ("data validation",),
        complexity=3.9,
        follow_ups=(FOLLOW_UP,) if name in ("prefix", "file") else (),
    )


SKILL = Skill(
    name="patterns",
    tags=("regular expressions",),
    contexts=(
        "I'm building the order form for {company}.",
        "We validate input before it is stored.",
        "My colleague {name} writes these in seconds, I can't.",
        "It's for a clean-up script.",
        "The old check lets too much through.",
        "I'm new to regular expressions.",
    ),
    systems=("You write regular expressions. Reply with the pattern only.", "You are a regex assistant."),
    tasks={name: _task(name) for name in FACTS},
)
