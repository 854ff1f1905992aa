"""Extraction to JSON: a short message, the keys to fill, one line of JSON with the keys in the order asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from siftune.selection.pool.skills.skill import Facts, FollowUp, Skill, Task, phrasings
from siftune.selection.pool.skills.words import CITIES, COMPANIES, PRODUCTS, STEMS, full_name

ASKS = (
    "Extract {keys} from the text as JSON on one line.",
    "Pull {keys} out of this message and return one line of JSON.",
    "Return a one-line JSON object with the keys {keys} for the text below.",
    "Turn this into JSON with {keys}, in that order, on a single line.",
    "Which {keys} does the note give? Answer as one line of JSON.",
    "Read the text and fill in {keys}. Reply with JSON only, one line.",
    "I need {keys} from the following as a JSON object without line breaks.",
    "Parse the message into one-line JSON. The keys are {keys}.",
    "From the text, give me {keys} in JSON, all on one line.",
)
MONTHS = ("January", "March", "April", "May", "July", "August", "October", "December")


def _order(rng: Random) -> dict[str, Any]:
    fields = {"name": full_name(rng), "item": rng.choice(PRODUCTS)}
    return {**fields, "quantity": rng.randrange(2, 60), "city": rng.choice(CITIES)}


def _meeting(rng: Random) -> dict[str, Any]:
    fields = {"organiser": full_name(rng), "day": f"{rng.randrange(1, 29)} {rng.choice(MONTHS)}"}
    return {
        **fields,
        "time": f"{rng.randrange(8, 19):02d}:{rng.choice((0, 15, 30, 45)):02d}",
        "room": rng.randrange(1, 60),
    }


def _contact(rng: Random) -> dict[str, Any]:
    name, company = full_name(rng), rng.choice(COMPANIES)
    domain = company.split()[0].lower()
    return {"name": name, "company": company, "email": f"{name.split()[0].lower()}@{domain}.example"}


def _incident(rng: Random) -> dict[str, Any]:
    fields = {"service": rng.choice(STEMS), "code": rng.choice((400, 403, 404, 409, 429, 500, 502, 503, 504))}
    return {**fields, "minutes": rng.randrange(2, 180), "reporter": full_name(rng)}


def _invoice(rng: Random) -> dict[str, Any]:
    fields = {"number": f"{rng.choice('ABKRT')}-{rng.randrange(1000, 10000)}", "company": rng.choice(COMPANIES)}
    return {**fields, "amount": rng.randrange(20, 5000), "due": f"{rng.randrange(1, 29)} {rng.choice(MONTHS)}"}


DRAW: Mapping[str, Callable[[Random], dict[str, Any]]] = {
    "order": _order,
    "meeting": _meeting,
    "contact": _contact,
    "incident": _incident,
    "invoice": _invoice,
}
PASSAGES: Mapping[str, tuple[str, ...]] = {
    "order": (
        "{name} from {city} would like to have the {item}, {quantity} in number.",
        "Please send {quantity} units of the {item} to {name} in {city}.",
        "New order: {item}, {quantity} units, for {name}, delivery to {city}.",
    ),
    "meeting": (
        "{organiser} invites everyone on {day} at {time} in room {room}.",
        "The meeting is in room {room} on {day}. It starts at {time}, and {organiser} is in charge.",
        "Room {room} is booked by {organiser} for {day}, {time}.",
    ),
    "contact": (
        "I met {name}, who works at {company}. The address is {email}.",
        "Write to {email} if you want to reach {name} of {company}.",
        "{name} ({company}) can be reached at {email}.",
    ),
    "incident": (
        "{reporter} says the {service} service answered with {code} for {minutes} minutes.",
        "For {minutes} minutes the {service} service returned error {code}, as noticed by {reporter}.",
        "Error {code} on the {service} service, reported by {reporter}, lasted {minutes} minutes.",
    ),
    "invoice": (
        "Invoice {number} from {company} over {amount} euros is due on {due}.",
        "{company} billed us {amount} euros with invoice {number}, payable by {due}.",
        "We owe {company} {amount} euros. The invoice is {number} and the date to pay is {due}.",
    ),
}


def _facts(name: str, rng: Random) -> Facts:
    """All the passage says, and which of it is asked for, in which order."""
    said = DRAW[name](rng)
    return {"said": said, "keys": rng.sample(list(said), rng.choice((2, 2, 3)))}


def _answer(facts: Facts) -> str:
    return json.dumps({key: facts["said"][key] for key in facts["keys"]})


def _check(facts: Facts, answer: str) -> bool:
    """Parsed again: the keys in order, each value as said, on one line."""
    pairs = json.loads(answer, object_pairs_hook=list)
    return "\n" not in answer and pairs == [(key, facts["said"][key]) for key in facts["keys"]]


def _wrong(rng: Random, facts: Facts) -> str:
    """A value of another key, a key left out, or a figure misread."""
    found = {key: facts["said"][key] for key in facts["keys"]}
    key, other = rng.sample(facts["keys"], 2)
    choice = rng.randrange(3)
    if choice == 0:
        found[key], found[other] = found[other], found[key]
    elif choice == 1:
        del found[key]
    else:
        found[key] = found[key] + 1 if isinstance(found[key], int) else str(found[key])[:-1]
    return json.dumps(found)


def _show(facts: Facts) -> dict[str, Any]:
    *first, last = facts["keys"]
    return {**facts["said"], "keys": f"{', '.join(first)} and {last}"}


def _other_keys(rng: Random, facts: Facts) -> Facts:
    """Fewer keys, or the same ones in another order."""
    while True:
        keys = rng.sample(list(facts["said"]), rng.choice((2, 3)))
        if keys != facts["keys"]:
            return {**facts, "keys": keys}


FOLLOW_UP = FollowUp(
    facts=_other_keys,
    asks=("Now only {keys}, same format.", "Change of plan: make it {keys}.", "And once more with {keys}, please."),
)


def _task(name: str) -> Task:
    return Task(
        facts=lambda rng: _facts(name, rng),
        answer=_answer,
        wrong=_wrong,
        check=_check,
        asks=ASKS,
        blocks=phrasings(("{Do}", "Text: {do}", '"{Do}"'), PASSAGES[name]),
        show=_show,
        tags=("e-mail",) if name == "contact" else ("business",) if name in ("order", "invoice") else (),
        complexity=3.3,
        follow_ups=(FOLLOW_UP,),
    )


SKILL = Skill(
    name="extraction",
    tags=("information extraction", "json"),
    contexts=(
        "We're moving our notes into a database.",
        "The inbox at {company} is full of these.",
        "A script will read your reply.",
        "I'm building a small form filler.",
        "{name} forwards me messages like this one.",
        "It will be parsed by a machine.",
    ),
    systems=("You turn text into JSON. Output JSON only.", "You extract fields and reply with one line of JSON."),
    tasks={name: _task(name) for name in DRAW},
)
