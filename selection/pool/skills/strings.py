"""String manipulation: reverse a word, count letters, initials, slugs, camel case, replaced letters, the n-th word."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

from siftune.selection.pool.skills.skill import Facts, FollowUp, Skill, Task, with_hints
from siftune.selection.pool.skills.words import ADJECTIVES, COMMON_WORDS, full_name

VERBS = ("crosses", "follows", "guards", "hides", "leaves", "loses", "misses", "needs", "paints", "passes", "wants")
VOWELS = frozenset("aeiou")


def _sentence(rng: Random) -> str:
    """Five to seven words such as 'the quiet parrot guards an old lantern'."""
    first, second = rng.sample(COMMON_WORDS, 2)
    start = f"the {rng.choice(ADJECTIVES)} {first} {rng.choice(VERBS)} the"
    return f"{start} {rng.choice(ADJECTIVES)} {second}" if rng.random() < 0.6 else f"{start} {second}"


def _title(rng: Random) -> str:
    """A heading such as 'Quiet Parrot Village Summer'."""
    words = [rng.choice(ADJECTIVES), *rng.sample(COMMON_WORDS, rng.randrange(1, 4))]
    return " ".join(word.capitalize() for word in words)


def _swap_facts(rng: Random) -> Facts:
    word = f"{rng.choice(ADJECTIVES)}{rng.choice(COMMON_WORDS)}"
    old = rng.choice(sorted(set(word)))
    return {"word": word, "old": old, "new": rng.choice([letter for letter in "aeioustrnx" if letter != old])}


def _letter_facts(rng: Random) -> Facts:
    text = _sentence(rng)
    return {"text": text, "letter": rng.choice(sorted(set(text) - {" "}))}


FACTS: Mapping[str, Callable[[Random], Facts]] = {
    "reverse": lambda rng: {"word": f"{rng.choice(ADJECTIVES)}{rng.choice(COMMON_WORDS)}"},
    "vowels": lambda rng: {"text": _sentence(rng)},
    "letter": _letter_facts,
    "initials": lambda rng: {"text": " ".join((full_name(rng), full_name(rng).split()[1]))},
    "slug": lambda rng: {"text": _title(rng)},
    "camel": lambda rng: {"text": _title(rng).lower()},
    "replace": _swap_facts,
    "word_at": lambda rng: {"text": _sentence(rng), "position": rng.randrange(2, 6)},
    "upper": lambda rng: {"text": _sentence(rng)},
}
ORDINALS = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}

SOLVE: Mapping[str, Callable[[Facts], str]] = {
    "reverse": lambda f: f["word"][::-1],
    "vowels": lambda f: str(sum(letter in VOWELS for letter in f["text"])),
    "letter": lambda f: str(f["text"].count(f["letter"])),
    "initials": lambda f: "".join(word[0] for word in f["text"].split()),
    "slug": lambda f: f["text"].lower().replace(" ", "-"),
    "camel": lambda f: f["text"][0] + f["text"].title().replace(" ", "")[1:],
    "replace": lambda f: f["word"].replace(f["old"], f["new"]),
    "word_at": lambda f: f["text"].split()[f["position"] - 1],
    "upper": lambda f: f["text"].upper(),
}
CHECK: Mapping[str, Callable[[Facts, str], bool]] = {
    "reverse": lambda f, a: "".join(reversed(a)) == f["word"],
    "vowels": lambda f, a: int(a) == len(re.findall("[aeiou]", f["text"])),
    "letter": lambda f, a: int(a) == len(f["text"].split(f["letter"])) - 1,
    "initials": lambda f, a: a == "".join(re.findall(r"\b[A-Z]", f["text"])),
    "slug": lambda f, a: a == a.lower() and a.split("-") == [word.lower() for word in f["text"].split()],
    "camel": lambda f, a: a.isalpha() and re.sub("([A-Z])", lambda m: " " + m[1].lower(), a) == f["text"],
    "replace": lambda f, a: list(a) == [f["new"] if letter == f["old"] else letter for letter in f["word"]],
    "word_at": lambda f, a: re.findall("[a-z]+", f["text"])[f["position"] - 1] == a,
    "upper": lambda f, a: a.isupper() and a.lower() == f["text"],
}
ASKS: Mapping[str, tuple[str, ...]] = {
    "reverse": (
        'Spell "{word}" backwards.',
        'What is "{word}" written from right to left?',
        'Reverse the letters of "{word}".',
        'If I read "{word}" from the end, what do I get?',
    ),
    "vowels": (
        'How many vowels (a, e, i, o, u) are in "{text}"?',
        'Count the vowels a, e, i, o and u in the phrase "{text}".',
        'In "{text}", how many letters are one of a, e, i, o, u?',
    ),
    "letter": (
        'How many times does the letter "{letter}" occur in "{text}"?',
        'Count every "{letter}" in "{text}".',
        'The phrase is "{text}". How often does "{letter}" occur in it?',
    ),
    "initials": (
        "What are the initials of {text}?",
        "Make a monogram for {text} from the first letters of all names.",
        "{text} signs with initials. What does that look like?",
    ),
    "slug": (
        'Turn the heading "{text}" into a URL slug.',
        'Our page is called "{text}". What is the slug for it?',
        'Make "{text}" safe for a web address.',
    ),
    "camel": (
        'Write "{text}" in camel case.',
        'I need a variable called "{text}" in lower camel case. How is it spelled?',
        'Convert the words "{text}" to lowerCamelCase.',
    ),
    "replace": (
        'Replace every "{old}" in "{word}" by "{new}".',
        'In the code word "{word}", change each letter "{old}" to "{new}".',
        'What becomes of "{word}" if all letters "{old}" turn into "{new}"?',
    ),
    "word_at": (
        'What is the {position} word of "{text}"?',
        'From "{text}", give me the {position} word.',
        'Which word comes {position} in "{text}"?',
    ),
    "upper": (
        'Write "{text}" in capitals.',
        'Put the line "{text}" into upper case for a poster.',
        'Change "{text}" to all capital letters.',
    ),
}
TEXT_HINTS = ("Give only the result.", "Just the result, no quotes.", "Nothing but the result, please.")
HINTS: Mapping[str, tuple[str, ...]] = {
    "vowels": ("Answer with a number.", "Only the number, please.", "Just the count."),
    "letter": ("Answer with a number.", "Only the number, please.", "Just the count."),
    "initials": ("Capitals without dots or spaces.", "No dots, no spaces.", "Only the capital letters, run together."),
    "slug": (
        "Lower case, with hyphens between the words.",
        "Use lower-case letters and hyphens.",
        "Small letters, hyphens.",
    ),
}
FOLLOW_UPS: Mapping[str, tuple[FollowUp, ...]] = {
    "replace": (
        FollowUp(
            task="reverse",
            facts=lambda rng, facts: {"word": SOLVE["replace"](facts)},
            asks=("Now spell that backwards.", "And the result reversed?"),
        ),
    ),
    "slug": (
        FollowUp(facts=lambda rng, facts: {"text": _title(rng)}, asks=('And for "{text}"?', 'Now "{text}", please.')),
    ),
    "word_at": (
        FollowUp(
            task="reverse",
            facts=lambda rng, facts: {"word": SOLVE["word_at"](facts)},
            asks=("Spell that word backwards.", "And the letters of it in reverse?"),
        ),
    ),
}


def _wrong(name: str, rng: Random, facts: Facts) -> str:
    """Miscounted, half done, or in another style."""
    right = SOLVE[name](facts)
    if right.isdigit():
        return str(int(right) + rng.choice((1, 2, 3)))
    if name == "word_at":
        return rng.choice([word for word in facts["text"].split() if word != right])
    text = facts.get("text", facts.get("word", ""))
    options = {right[:-1], right[0] + right[2:], text, text.replace(" ", "_"), right.swapcase()}
    return rng.choice(sorted(option for option in options if option and option != right))


def _show(facts: Facts) -> Facts:
    return {**facts, "position": ORDINALS[facts["position"]]} if "position" in facts else facts


def _task(name: str) -> Task:
    return Task(
        facts=FACTS[name],
        answer=SOLVE[name],
        wrong=lambda rng, facts: _wrong(name, rng, facts),
        check=CHECK[name],
        asks=with_hints(ASKS[name], HINTS.get(name, TEXT_HINTS)),
        show=_show,
        tags=("counting",) if name in ("vowels", "letter") else ("naming",) if name in ("slug", "camel") else (),
        complexity=2.6 if name in ("reverse", "letter", "vowels") else 1.9,
        follow_ups=FOLLOW_UPS.get(name, ()),
    )


SKILL = Skill(
    name="strings",
    tags=("string manipulation", "text processing"),
    contexts=(
        "I'm making a word game for {name}.",
        "It's for the new site of {company}.",
        "We're testing a text tool.",
        "Bear with me, this is for a puzzle.",
        "I keep miscounting.",
        "I'm preparing labels for an event in {city}.",
    ),
    systems=("You transform text exactly as asked.", "Answer with the transformed text only."),
    tasks={name: _task(name) for name in ASKS},
)
