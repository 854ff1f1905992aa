"""Arithmetic word problems: shopping, sharing, travelling, saving; the answer is one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from random import Random

from siftune.selection.pool.skills.skill import Facts, FollowUp, Skill, Task, with_hints
from siftune.selection.pool.skills.words import FRUITS, PRODUCTS

HINTS = (
    "Answer with the number only.",
    "Just give me the number.",
    "Reply with a single number.",
    "Only the final number, please.",
)

TOWNS = ("Ashford", "Millbrook", "Stonebridge", "Lindenau", "Seaview", "Northfield", "Kingsport", "Easton")


def _slip(rng: Random, answer: int, others: tuple[int, ...]) -> str:
    """A wrong result: the outcome of a typical slip where it differs, else a number near by."""
    options = {number for number in (*others, answer + 1, answer + 10) if number != answer and number >= 0}
    return str(rng.choice(sorted(options)))


def _total_facts(rng: Random) -> Facts:
    first, second = rng.sample(FRUITS, 2)
    return {"a": rng.randrange(2, 60), "b": rng.randrange(2, 60), "first": first, "second": second}


def _cost_facts(rng: Random) -> Facts:
    return {"a": rng.randrange(3, 40), "price": rng.randrange(4, 90)}


def _share_facts(rng: Random) -> Facts:
    people = rng.randrange(3, 20)
    return {"people": people, "a": people * rng.randrange(3, 40) + rng.randrange(people)}


def _travel_facts(rng: Random) -> Facts:
    return {"speed": rng.randrange(40, 141), "hours": rng.randrange(2, 16)}


def _change_facts(rng: Random) -> Facts:
    price, a = rng.randrange(3, 50), rng.randrange(2, 9)
    return {"price": price, "a": a, "note": rng.choice([note for note in (50, 100, 200, 400) if note > price * a])}


def _saving_facts(rng: Random) -> Facts:
    return {"weeks": rng.randrange(4, 40), "a": rng.randrange(5, 95, 5), "start": rng.randrange(10, 300, 10)}


def _discount_facts(rng: Random) -> Facts:
    return {"price": rng.randrange(20, 2000, 20), "percent": rng.choice((5, 10, 15, 20, 25, 30, 35, 40, 45, 50))}


SOLVE: Mapping[str, Callable[[Facts], int]] = {
    "total": lambda f: f["a"] + f["b"],
    "cost": lambda f: f["a"] * f["price"],
    "share": lambda f: f["a"] // f["people"],
    "travel": lambda f: f["speed"] * f["hours"],
    "change": lambda f: f["note"] - f["price"] * f["a"],
    "saving": lambda f: f["start"] + f["weeks"] * f["a"],
    "discount": lambda f: f["price"] - f["price"] * f["percent"] // 100,
}
CHECK: Mapping[str, Callable[[Facts, int], bool]] = {
    "total": lambda f, x: x - f["a"] == f["b"],
    "cost": lambda f, x: sum([f["price"]] * f["a"]) == x,
    "share": lambda f, x: 0 <= f["a"] - x * f["people"] < f["people"],
    "travel": lambda f, x: Decimal(x) / f["hours"] == f["speed"],
    "change": lambda f, x: x + sum([f["price"]] * f["a"]) == f["note"],
    "saving": lambda f, x: Decimal(x - f["start"]) / f["weeks"] == f["a"],
    "discount": lambda f, x: Decimal(f["price"]) * (100 - f["percent"]) == Decimal(x) * 100,
}
"""Each problem turned round: does the result lead back to the figures given?"""

SLIPS: Mapping[str, Callable[[Facts], tuple[int, ...]]] = {
    "total": lambda f: (abs(f["a"] - f["b"]),),
    "cost": lambda f: (f["a"] + f["price"],),
    "share": lambda f: (f["a"] % f["people"], f["a"] // f["people"] + 1),
    "travel": lambda f: (f["speed"] + f["hours"], f["speed"] * (f["hours"] - 1)),
    "change": lambda f: (f["note"] - f["price"], f["price"] * f["a"]),
    "saving": lambda f: (f["weeks"] * f["a"],),
    "discount": lambda f: (f["price"] - f["percent"], f["price"] * f["percent"] // 100),
}
FACTS: Mapping[str, Callable[[Random], Facts]] = {
    "total": _total_facts,
    "cost": _cost_facts,
    "share": _share_facts,
    "travel": _travel_facts,
    "change": _change_facts,
    "saving": _saving_facts,
    "discount": _discount_facts,
}
ASKS: Mapping[str, tuple[str, ...]] = {
    "total": (
        "{name} picked {a} {first} and {b} {second}. How many pieces of fruit is that?",
        "There are {a} {first} and {b} {second} in {name}'s basket. How much fruit is there altogether?",
        "If {name} has {a} {first} and buys {b} {second}, how many pieces of fruit are there in total?",
    ),
    "cost": (
        "{name} orders {a} units of the {item} at {price} euros each. What does the order cost in euros?",
        "One {item} costs {price} dollars. How many dollars does {name} pay for {a} of them?",
        "At {price} pounds per {item}, how many pounds does {name} need for {a}?",
    ),
    "share": (
        "{name} shares {a} {fruit} equally among {people} children. How many whole {fruit} does each child get?",
        "{a} {fruit} go into {people} boxes, the same number in each. How many does {name} put in a box at most?",
        "How many {fruit} does each of {people} neighbours get if {name} hands out {a} fairly and keeps the rest?",
    ),
    "travel": (
        "A train from {city} to {town} runs at {speed} km/h for {hours} hours. How many kilometres does it cover?",
        "Driving from {city} to {town} took {hours} hours at a steady {speed} km/h. How long is the route in km?",
        "A coach leaves {city} for {town} and keeps to {speed} km/h. How far has it come after {hours} hours, in km?",
    ),
    "change": (
        "{name} buys {a} units of the {item} for {price} euros each and pays with {note} euros. How much comes back?",
        "Paying {note} dollars for {a} units of the {item} at {price} dollars each, what does {name} get back?",
        "The {item} is {price} pounds. {name} takes {a} and hands over {note} pounds. How many pounds are the change?",
    ),
    "saving": (
        "{name} has {start} euros and puts aside {a} euros every week. How many euros are there after {weeks} weeks?",
        "Starting from {start} dollars, {name} saves {a} dollars a week. What is the total after {weeks} weeks?",
        "With {start} pounds in the jar and {a} more each week, how many pounds does {name} have in {weeks} weeks?",
    ),
    "discount": (
        "A {item} at {price} euros is reduced by {percent} percent. What is the new price in euros?",
        "The shop takes {percent}% off a {item} that costs {price} dollars. How many dollars is it now?",
        "How many pounds do I pay for a {item} of {price} pounds with a {percent}% voucher?",
    ),
}


def _number_check(name: str, facts: Facts, answer: str) -> bool:
    return answer.isdigit() and CHECK[name](facts, int(answer))


def _again(rng: Random, facts: Facts, field: str) -> Facts:
    return {**facts, field: facts[field] + rng.choice((1, 2, 3, 4, 6))}


AGAIN: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "cost": ("a", ("And if it were {a} instead?", "What would {a} cost?")),
    "travel": ("hours", ("And after {hours} hours?", "What if it went on for {hours} hours in all?")),
    "saving": ("weeks", ("And after {weeks} weeks?", "How much would it be after {weeks} weeks?")),
    "total": ("b", ("And with {b} {second} instead?", "Suppose there were {b} {second}. What then?")),
}


def _task(name: str) -> Task:
    follow_ups: tuple[FollowUp, ...] = ()
    if name in AGAIN:
        field, asks = AGAIN[name]
        follow_ups = (FollowUp(facts=lambda rng, facts: _again(rng, facts, field), asks=asks),)
    return Task(
        facts=FACTS[name],
        answer=lambda facts: str(SOLVE[name](facts)),
        wrong=lambda rng, facts: _slip(rng, SOLVE[name](facts), SLIPS[name](facts)),
        check=lambda facts, answer: _number_check(name, facts, answer),
        asks=with_hints(ASKS[name], HINTS),
        decor={"item": PRODUCTS, "fruit": FRUITS, "town": TOWNS},
        tags=("shopping",) if name in ("cost", "change", "discount") else (),
        complexity=2.2 if name in ("total", "cost") else 3.0,
        follow_ups=follow_ups,
    )


SKILL = Skill(
    name="arithmetic",
    tags=("arithmetic", "mathematics"),
    contexts=(
        "My daughter is stuck on her homework.",
        "I'm writing a quiz for class seven.",
        "Here's one from the worksheet at our school.",
        "I want to check my own result.",
        "We had this in the maths club yesterday.",
        "No calculator at hand.",
        "This came up while planning with {name}.",
    ),
    systems=("You are a patient maths tutor who answers with the result only.", "You solve word problems exactly."),
    tasks={name: _task(name) for name in ASKS},
)
