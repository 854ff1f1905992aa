"""Unit conversion with the factor given in the question and a stated number of decimals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from random import Random

from siftune.selection.pool.skills.skill import Facts, FollowUp, Skill, Task, with_hints

TENTH = Decimal("0.1")


@dataclass(frozen=True)
class Conversion:
    """1 `source` is `factor` `target`; amounts are drawn between `low` and `high`."""

    source: str
    target: str
    symbol: str
    factor: str
    low: int
    high: int


CONVERSIONS: Mapping[str, tuple[Conversion, ...]] = {
    "length": (
        Conversion("miles", "kilometres", "km", "1.609", 2, 900),
        Conversion("kilometres", "miles", "mi", "0.621", 2, 900),
        Conversion("inches", "centimetres", "cm", "2.54", 3, 300),
        Conversion("feet", "metres", "m", "0.305", 3, 900),
        Conversion("yards", "metres", "m", "0.914", 5, 800),
    ),
    "weight": (
        Conversion("pounds", "kilograms", "kg", "0.454", 2, 700),
        Conversion("kilograms", "pounds", "lb", "2.205", 2, 500),
        Conversion("ounces", "grams", "g", "28.35", 2, 200),
    ),
    "volume": (
        Conversion("gallons", "litres", "L", "3.785", 2, 400),
        Conversion("cups", "millilitres", "ml", "236.6", 2, 40),
        Conversion("litres", "pints", "pt", "2.113", 2, 300),
    ),
    "rate": (
        Conversion("miles per hour", "km/h", "km/h", "1.609", 5, 250),
        Conversion("knots", "km/h", "km/h", "1.852", 3, 200),
    ),
}
BY_NAME = {(c.source, c.target): c for family in CONVERSIONS.values() for c in family}

ASKS = (
    "Convert {amount} {source} to {target}.",
    "How much is {amount} {source} in {target}?",
    "I measured {thing} at {amount} {source}. What is that in {target}?",
    "What do {amount} {source} come to in {target}?",
    "It says {amount} {source} for {thing}, but I think in {target}.",
    "Please turn {amount} {source} into {target} for me.",
    "{amount} {source} for {thing}: what is it in {target}?",
    "We need {thing} in {target}, and the sheet gives {amount} {source}.",
    "For {thing} I have {amount} {source}. Express it in {target}, please.",
)
HINTS = (
    "Take 1 {unit} = {factor} {symbol} and round to one decimal, like 3.2 {symbol}.",
    "Use {factor} {symbol} to the {unit}, with one decimal and the unit {symbol}.",
    "(1 {unit} is {factor} {symbol}. One decimal, then {symbol}.)",
    "Reply as a number with one decimal and {symbol}, counting {factor} {symbol} per {unit}.",
)
THINGS: Mapping[str, tuple[str, ...]] = {
    "length": ("the distance", "the longer side", "the first stretch", "the second stage", "the whole line", "the gap"),
    "weight": ("the crate", "one parcel", "the whole batch", "the delivery", "my luggage", "the second box"),
    "volume": ("the mixture", "the barrel", "the whole batch", "the big pot", "the order", "the container"),
    "rate": ("the wind", "the boat", "the second run", "the old engine", "the current", "the test drive"),
}
SINGULAR = {"feet": "foot", "inches": "inch", "miles per hour": "mph"}


def _facts(family: str, rng: Random) -> Facts:
    conversion = rng.choice(CONVERSIONS[family])
    return {"source": conversion.source, "target": conversion.target, "amount": _amount(rng, conversion)}


def _amount(rng: Random, conversion: Conversion) -> str:
    whole = rng.randrange(conversion.low, conversion.high)
    return f"{whole}.5" if whole < 100 and rng.random() < 0.25 else str(whole)


def _show(facts: Facts) -> dict[str, str]:
    conversion = BY_NAME[facts["source"], facts["target"]]
    unit = SINGULAR.get(conversion.source, conversion.source.removesuffix("s"))
    return {**facts, "unit": unit, "factor": conversion.factor, "symbol": conversion.symbol}


def _value(facts: Facts) -> Decimal:
    return Decimal(facts["amount"]) * Decimal(BY_NAME[facts["source"], facts["target"]].factor)


def _written(value: Decimal, facts: Facts) -> str:
    symbol = BY_NAME[facts["source"], facts["target"]].symbol
    return f"{value.quantize(TENTH, ROUND_HALF_UP)} {symbol}"


def _wrong(rng: Random, facts: Facts) -> str:
    """Divided where it should be multiplied, the point in the wrong place, or a careless sum."""
    factor = Decimal(BY_NAME[facts["source"], facts["target"]].factor)
    right = _value(facts)
    return _written(
        rng.choice((Decimal(facts["amount"]) / factor, right * 10, right + 2, right * Decimal("1.1"))), facts
    )


def _check(facts: Facts, answer: str) -> bool:
    """Convert back: the amount must lie within half of the last digit."""
    conversion = BY_NAME[facts["source"], facts["target"]]
    number, _, symbol = answer.partition(" ")
    back = Decimal(number) / Decimal(conversion.factor)
    slack = TENTH / 2 / Decimal(conversion.factor) + Decimal("1e-9")
    return symbol == conversion.symbol and "." in number and abs(back - Decimal(facts["amount"])) <= slack


def _again(rng: Random, facts: Facts) -> Facts:
    conversion = BY_NAME[facts["source"], facts["target"]]
    while (amount := _amount(rng, conversion)) == facts["amount"]:
        pass
    return {**facts, "amount": amount}


FOLLOW_UP = FollowUp(
    facts=_again,
    asks=("And {amount} {source}?", "What about {amount} {source}?", "Now {amount} {source}, same rounding."),
)


def _task(family: str) -> Task:
    return Task(
        facts=lambda rng: _facts(family, rng),
        answer=lambda facts: _written(_value(facts), facts),
        wrong=_wrong,
        check=_check,
        asks=with_hints(ASKS, HINTS),
        show=_show,
        decor={"thing": THINGS[family]},
        tags=("cooking",) if family == "volume" else ("travel",) if family == "rate" else (),
        complexity=2.4,
        follow_ups=(FOLLOW_UP,),
    )


SKILL = Skill(
    name="units",
    tags=("unit conversion", "mathematics"),
    contexts=(
        "The data sheet from {company} is in the wrong units.",
        "My cousin {name} in {city} never uses the units I know.",
        "I'm filling in a customs form.",
        "The manual was written in another country.",
        "We're planning a trip to {city}.",
        "I always get these mixed up.",
    ),
    systems=("You convert units. Reply with the converted figure only.", "You are a precise measuring assistant."),
    tasks={family: _task(family) for family in CONVERSIONS},
)
