"""Small talk: conversations that ask for nothing that could be checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from siftune.selection.pool.skills.skill import Filling
from siftune.selection.pool.skills.words import FRUITS, PRODUCTS, SUBJECTS

DECOR: Mapping[str, tuple[str, ...]] = {
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "activity": (
        *("a long walk", "a film night", "a board game evening", "a swim", "a picnic", "some gardening", "a concert"),
        *("a bike tour", "a dance class", "a pottery class", "a quiz night", "a museum visit", "a barbecue", "karaoke"),
    ),
    "weather": ("rainy", "sunny", "foggy", "windy", "freezing", "mild", "stormy", "grey", "humid", "crisp"),
    "pet": ("cat", "dog", "parrot", "hamster", "rabbit", "tortoise", "pony", "goldfish"),
    "relative": ("sister", "brother", "aunt", "uncle", "cousin", "neighbour", "flatmate", "grandmother", "boss"),
    "fruit": FRUITS,
    "item": PRODUCTS,
    "subject": SUBJECTS,
    "look": ("huge", "bright red", "tiny", "golden", "wooden", "second-hand", "striped", "very old", "shiny"),
    "mood": ("a bit tired", "quite cheerful", "rather bored", "full of energy", "strangely calm", "a little nervous"),
    "pause": ("a while", "a few weeks", "some months", "ages", "a week or two"),
}


@dataclass(frozen=True)
class Topic:
    """What somebody says, what is said back, and how it may go on."""

    tag: str
    openings: tuple[str, ...]
    replies: tuple[str, ...]
    more: tuple[tuple[str, str], ...]
    """A second remark, with the reply to it."""


TOPICS: tuple[Topic, ...] = (
    Topic(
        "weather",
        (
            "What a {weather} {day} here in {city}! How is it where you are?",
            "It's so {weather} in {city} that {name} and I hardly know what to do with this {day}.",
            "Another {weather} morning in {city}, and I'm {mood}. My {relative} loves days like this one.",
        ),
        (
            "I have no window to look out of, but a {weather} day sounds like a reason for {activity}.",
            "Days like that have their charm. Maybe {activity} later?",
            "I hope the rest of the day is kind to you! You could always try {activity}.",
        ),
        (
            ("Ha, maybe. I'm more in the mood for a cup of tea.", "Then a cup of tea it is. Enjoy every sip!"),
            ("You always look on the bright side!", "I try! Somebody has to, in that kind of weather."),
        ),
    ),
    Topic(
        "leisure",
        (
            "{name} wants {activity} on {day} and I'd rather stay at home. What do you think?",
            "I'm {mood} today, and now {name} suggests {activity} in {city}. Should I go?",
            "My {relative} keeps inviting me to {activity} with the people from {company}. I can't decide.",
        ),
        (
            "That sounds like fun! It is often nicer than one expects, so why not give it a try?",
            "I would go with whatever makes you smile. There will be other chances too.",
            "Sleep on it. If you look forward to it in the morning, you have your answer.",
        ),
        (
            ("You're right, I'm overthinking it.", "We all do at times. Let me know how it goes!"),
            ("I'll tell everybody you said so.", "Please do, and have a good time!"),
        ),
    ),
    Topic(
        "leisure",
        (
            "Guess what, we had {activity} with {name} last {day} and it was lovely.",
            "Back from {city}! {name} and I did nothing but laugh, and on {day} there was even {activity}.",
            "I finally talked my {relative} into {activity} last {day}. Best evening in {pause}.",
        ),
        (
            "How nice! Moments like that stay with you for a long time.",
            "That sounds wonderful. I'm glad you had such good company.",
            "I love hearing that. You should do it again soon!",
        ),
        (
            ("We already have plans for the next one.", "Even better. Something to look forward to!"),
            ("I wish every week had a day like that.", "Perhaps it can, if you keep one evening free."),
        ),
    ),
    Topic(
        "pets",
        (
            "My {pet} is called {name} and sleeps next to my {item} all day.",
            "The {pet} of my {relative} ate all the {fruit} last {day}!",
            "We have a new {pet} in the house. My {relative} named it {name}, after a friend in {city}.",
        ),
        (
            "That is adorable. A {pet} makes any home livelier.",
            "What a character! I'd love to see a photo.",
            "I can picture it. There is never a dull moment with a {pet}.",
        ),
        (
            ("Everybody here is in love with that animal.", "I can imagine. Say hello to it from me!"),
            ("And now it looks at me as if it understood.", "Maybe it does! They notice more than we think."),
        ),
    ),
    Topic(
        "food",
        (
            "My {relative} made a cake with {fruit} for {day}. I'm still full.",
            "I had {fruit} on toast with {name} this morning, in that little place in {city}. So good!",
            "Is there anything better than fresh {fruit} on a {weather} {day} in {city}?",
        ),
        (
            "That sounds delicious. I can't taste, but I can be happy for you.",
            "Now I almost wish I could eat. {fruit} seem to make everything better!",
            "What a treat! Some people would add a spoon of cream as well.",
        ),
        (
            ("Now I'm hungry again.", "Then it's time for a second helping."),
            ("My {relative} will be glad to hear it.", "Praise is well earned in any kitchen!"),
        ),
    ),
    Topic(
        "opinion",
        (
            "Honestly, {subject} was the only thing I liked at school in {city}. {name} never understood it.",
            "{name} thinks I talk too much about {subject}. Do I?",
            "My {relative} has started reading about {subject} and talks of nothing else, not even on a {day}.",
        ),
        (
            "We all have something that makes us glow. Let it be!",
            "I find that rather charming. The world needs people who care about {subject}.",
            "There are worse things to be fond of than {subject}. I could listen for hours.",
        ),
        (
            ("You're very kind, as always.", "And you are good company."),
            ("I knew you would say something like that.", "Am I that easy to see through? Well, I meant it!"),
        ),
    ),
    Topic(
        "dreams",
        (
            "I dreamed of a {look} {item} last night, somewhere in {city}. Funny, isn't it?",
            "My {relative} bought a {look} {item} on {day} and won't stop talking about it.",
            "{name} gave me a {look} {item} for my birthday. I have no idea where to put it.",
        ),
        (
            "Ha, that made me smile! Some things are too good to be explained.",
            "A {look} {item}! I'd say life is never boring around you.",
            "How curious. Maybe there is a story behind it.",
        ),
        (
            ("You would like it, I'm sure.", "I'm quite sure as well. Enjoy it!"),
            ("Don't tell {name} I mentioned it.", "My lips are sealed."),
        ),
    ),
    Topic(
        "greeting",
        (
            "Hello again! It's {name} from {city}. It has been {pause}.",
            "Good morning! {name} here, just saying hello on a {weather} {day}.",
            "Hey, I'm back! I've been in {city} with my {relative} for {pause}.",
        ),
        (
            "Hello! Lovely to hear from you. How have you been?",
            "Good to see you here. I hope everything is going well!",
            "Welcome! What have you been up to lately?",
        ),
        (
            ("Mostly {activity}. Nothing special, really.", "The simple things are often the best."),
            ("Oh, this and that. My {relative} sends regards.", "How kind! Regards from me as well."),
        ),
    ),
)
MORE_SHARE = 0.35


@dataclass(frozen=True)
class Chat:
    """A finished conversation without a question to check."""

    tags: tuple[str, ...]
    lines: tuple[str, ...]
    """What the two say in turn, the user first."""


def draw_chat(rng: Random) -> Chat:
    """One exchange, or two in a third of the cases."""
    topic = rng.choice(TOPICS)
    filling = Filling(rng, {}, DECOR)
    parts = [rng.choice(topic.openings), rng.choice(topic.replies)]
    if rng.random() < MORE_SHARE:
        parts += rng.choice(topic.more)
    return Chat(("casual conversation", topic.tag), tuple(_spoken(part, filling) for part in parts))


def _spoken(part: str, filling: Filling) -> str:
    """The line filled in, each sentence with a capital: a field may open one."""
    sentences = part.format_map(filling).split(". ")
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)
