"""How people of different sources put their questions, and the small edits that scraping leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from siftune.selection.pool.skills.skill import Filling, Skill


@dataclass(frozen=True, kw_only=True)
class Voice:
    """What the people of one source say around a question, and how often."""

    greetings: tuple[str, ...] = ()
    closings: tuple[str, ...] = ()
    greeting_share: float = 0.0
    context_share: float = 0.0
    closing_share: float = 0.0


VOICES: Mapping[str, Voice] = {
    "handbook": Voice(
        greetings=(
            "Exercise {number}.",
            "Question {number}.",
            "Number {number}:",
            "Practice {number}.",
            "Example {number}.",
        ),
        greeting_share=0.25,
        context_share=0.25,
    ),
    "workbench": Voice(
        greetings=(
            *(
                "Hi there!",
                "Quick question.",
                "Good morning!",
                "Hello!",
                "One more for today.",
                "A small favour.",
                "Hey!",
            ),
            *(
                "Sorry to bother you.",
                "Me again.",
                "Good afternoon.",
                "Could you help me with this?",
                "Hi, {name} here.",
            ),
        ),
        closings=(
            *(
                "Thanks!",
                "Thank you.",
                "Cheers!",
                "No explanation needed.",
                "Much appreciated.",
                "A short answer is fine.",
            ),
            *("Thanks a lot!", "I owe you one.", "That would help me a lot.", "Please keep it brief."),
        ),
        greeting_share=0.3,
        context_share=0.5,
        closing_share=0.35,
    ),
    "forum": Voice(
        greetings=(
            *(
                "Hi everyone, first post here.",
                "Newbie alert!",
                "Been stuck on this for an hour.",
                "Hello all!",
                "Help!",
            ),
            *(
                "Does anybody know this?",
                "Couldn't find this anywhere.",
                "Hi folks, {name} from {city} here.",
                "Long-time reader.",
            ),
        ),
        closings=(
            *("Any help is appreciated.", "Thanks in advance!", "Sorry if this was asked before.", "Cheers, {name}."),
            *("It's urgent!", "Please be gentle.", "Upvotes guaranteed.", "My teacher says otherwise.", "Anyone?"),
        ),
        greeting_share=0.8,
        context_share=0.3,
        closing_share=0.75,
    ),
    "scrape": Voice(context_share=0.3),
}
NUMBERS = tuple(str(number) for number in range(1, 61))

PREFIXES = ("Q: ", "Question: ", "FAQ: ", "[copied] ", "Re: ", "Post: ", "> ", "* ")
SUFFIXES = (" Thanks.", " Thank you!", " Many thanks.", " (see above)", " [edited]", " Best regards.", " Please help.")
SWAPS = (
    ("I'm", "I am"),
    ("We're", "We are"),
    ("It's", "It is"),
    ("What's", "What is"),
    ("What is", "What's"),
    ("can't", "cannot"),
    ("don't", "do not"),
    ("Give me", "Show me"),
    ("Please ", "Kindly "),
    (", please", ""),
    ("How do I", "How can I"),
    ("Just the", "Only the"),
    ("Write a", "Provide a"),
    ("I need", "I want"),
    ("Find the", "Find out the"),
)


def compose(rng: Random, voice: Voice, skill: Skill, ask: str) -> str:
    """The question with what its asker says before and after it."""
    filling = Filling(rng, {}, {"number": NUMBERS})
    parts = [ask]
    if rng.random() < voice.context_share:
        parts.insert(0, rng.choice(skill.contexts))
    if rng.random() < voice.greeting_share:
        parts.insert(0, rng.choice(voice.greetings))
    if rng.random() < voice.closing_share:
        parts.append(rng.choice(voice.closings))
    return " ".join(part if part is ask else part.format_map(filling) for part in parts)


def edit(rng: Random, text: str) -> str:
    """The text with one or two small changes that leave the question what it was."""
    changed = _edit_once(rng, text)
    return _edit_once(rng, changed) if rng.random() < 0.5 else changed


def _edit_once(rng: Random, text: str) -> str:
    swaps = [(old, new) for old, new in SWAPS if old in text]
    way = rng.randrange(4)
    if way == 0 and swaps:
        return text.replace(*rng.choice(swaps), 1)
    if way == 1 and not text.startswith(PREFIXES):
        return rng.choice(PREFIXES) + text
    if way == 2 and text[-1] in ".?":
        return text[:-1] + rng.choice(("!", "...") if text[-1] == "." else ("??", "?!"))
    return text if text.endswith(SUFFIXES) else text + rng.choice(SUFFIXES)
