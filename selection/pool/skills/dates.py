"""Date arithmetic: days and weeks added, days between, the day of the week, the last day of a month."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from random import Random

from siftune.selection.pool.skills.skill import Facts, FollowUp, Skill, Task, with_hints

EVENTS = (
    "the contract",
    "the trial period",
    "the exhibition",
    "the insurance policy",
    "my notice period",
    "the rental",
    "the guarantee",
    "our renovation",
    "the course",
    "the library loan",
    "the parking permit",
    "the apprenticeship",
)
FIRST_DAY, LAST_DAY = date(1990, 1, 1).toordinal(), date(2035, 12, 31).toordinal()
ISO_HINTS = (
    "Write the date as YYYY-MM-DD.",
    "Answer in the form YYYY-MM-DD.",
    "Just the date, please, as YYYY-MM-DD.",
    "Reply with the date only (YYYY-MM-DD).",
)
NUMBER_HINTS = ("Answer with the number only.", "Just the number of days, please.", "Give me only the number.")
DAY_HINTS = ("Answer with the name of the day only.", "One word, please.", "Just the weekday.")


def _day(rng: Random) -> date:
    return date.fromordinal(rng.randrange(FIRST_DAY, LAST_DAY))


def _shift_facts(rng: Random) -> Facts:
    return {"start": _day(rng).isoformat(), "count": rng.randrange(2, 121)}


def _before_facts(rng: Random) -> Facts:
    return {"start": _day(rng).isoformat(), "count": rng.randrange(2, 61)}


def _between_facts(rng: Random) -> Facts:
    start = _day(rng)
    end = start + timedelta(days=rng.randrange(3, 300))
    return {"start": start.isoformat(), "end": end.isoformat()}


def _weekday_facts(rng: Random) -> Facts:
    return {"start": _day(rng).isoformat()}


def _month_facts(rng: Random) -> Facts:
    day = _day(rng)
    return {"year": day.year, "month": day.month}


def worded(iso: str) -> str:
    """2021-03-04 as people write it: 4 March 2021."""
    day = date.fromisoformat(iso)
    return f"{day.day} {calendar.month_name[day.month]} {day.year}"


def _show(facts: Facts) -> dict[str, object]:
    shown = {**facts, **{name: worded(facts[name]) for name in ("start", "end") if name in facts}}
    return shown | ({"month": calendar.month_name[facts["month"]]} if "month" in facts else {})


def _start(facts: Facts) -> date:
    return date.fromisoformat(facts["start"])


SOLVE: Mapping[str, Callable[[Facts], str]] = {
    "days_after": lambda f: (_start(f) + timedelta(days=f["count"])).isoformat(),
    "weeks_after": lambda f: (_start(f) + timedelta(weeks=f["count"])).isoformat(),
    "days_before": lambda f: (_start(f) - timedelta(days=f["count"])).isoformat(),
    "between": lambda f: str((date.fromisoformat(f["end"]) - _start(f)).days),
    "weekday": lambda f: calendar.day_name[_start(f).weekday()],
    "month_end": lambda f: date(f["year"], f["month"], calendar.monthrange(f["year"], f["month"])[1]).isoformat(),
}


def _steps(facts: Facts, answer: str) -> int:
    """Days from the start to the answer, counted in ordinals."""
    return date.fromisoformat(answer).toordinal() - _start(facts).toordinal()


def _zeller(day: date) -> str:
    """The day of the week by Zeller's congruence, which shares nothing with the standard library's way."""
    month, year = (day.month, day.year) if day.month > 2 else (day.month + 12, day.year - 1)
    century, rest = divmod(year, 100)
    number = (day.day + 13 * (month + 1) // 5 + rest + rest // 4 + century // 4 + 5 * century) % 7
    return ("Saturday", "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday")[number]


def _is_month_end(facts: Facts, answer: str) -> bool:
    day = date.fromisoformat(answer)
    return (day.year, day.month) == (facts["year"], facts["month"]) and (day + timedelta(days=1)).day == 1


CHECK: Mapping[str, Callable[[Facts, str], bool]] = {
    "days_after": lambda f, a: _steps(f, a) == f["count"],
    "weeks_after": lambda f, a: _steps(f, a) == 7 * f["count"],
    "days_before": lambda f, a: _steps(f, a) == -f["count"],
    "between": lambda f, a: date.fromordinal(_start(f).toordinal() + int(a)).isoformat() == f["end"],
    "weekday": lambda f, a: _zeller(_start(f)) == a,
    "month_end": _is_month_end,
}
ASKS: Mapping[str, tuple[str, ...]] = {
    "days_after": (
        "Which date is {count} days after {start}?",
        "I started {event} on {start} and have {count} days from then. What date is that?",
        "Add {count} days to {start}.",
        "{start} plus {count} days: what date does that make?",
    ),
    "weeks_after": (
        "What date is {count} weeks after {start}?",
        "If {event} begins on {start} and lasts {count} weeks, on what date is it over, counting from that day?",
        "Add {count} weeks to {start}.",
    ),
    "days_before": (
        "What date was {count} days before {start}?",
        "{company} delivers on {start} and wants the order {count} days earlier. By what date do I order?",
        "Go back {count} days from {start}. Which date is it?",
    ),
    "between": (
        "How many days are there from {start} to {end}?",
        "How long is it in days between {start} and {end}, not counting the first day?",
        "If {event} runs from {start} to {end}, how many days lie between the two dates?",
    ),
    "weekday": (
        "What day of the week is {start}?",
        "I was told {start} suits everyone. Which weekday is that?",
        "On which day of the week does {start} fall?",
        "Is there a quick way to tell the weekday of {start}? I only need the day itself.",
    ),
    "month_end": (
        "{company} pays on the last day of the month. Which date is that in {month} {year}?",
        "What is the last day of {month} {year}, for an invoice to {company}?",
        "The bill from {company} is due at the end of {month} {year}. What date is that?",
    ),
}


def _wrong(name: str, rng: Random, facts: Facts) -> str:
    """Off by a day, a few days or a month's worth."""
    right = SOLVE[name](facts)
    if name == "weekday":
        return rng.choice([day for day in calendar.day_name if day != right])
    if name == "between":
        return str(int(right) + rng.choice((-2, -1, 1, 2, 10, 30)))
    return (date.fromisoformat(right) + timedelta(days=rng.choice((-2, -1, 1, 2, 7, 30)))).isoformat()


def _again(rng: Random, facts: Facts) -> Facts:
    return {**facts, "count": facts["count"] + rng.randrange(1, 15)}


def _from_answer(name: str) -> FollowUp:
    """Which weekday the first answer falls on."""
    return FollowUp(
        task="weekday",
        facts=lambda rng, facts: {"start": SOLVE[name](facts)},
        asks=(
            "Which weekday is that? One word.",
            "And what day of the week will that be?",
            "Which day of the week is it?",
        ),
    )


SHIFTED = FollowUp(facts=_again, asks=("Make it {count} instead.", "And if it were {count}?"))
FACTS = {
    "days_after": _shift_facts,
    "weeks_after": _shift_facts,
    "days_before": _before_facts,
    "between": _between_facts,
    "weekday": _weekday_facts,
    "month_end": _month_facts,
}


def _task(name: str) -> Task:
    hints = {"between": NUMBER_HINTS, "weekday": DAY_HINTS}.get(name, ISO_HINTS)
    shifts = name in ("days_after", "weeks_after", "days_before")
    return Task(
        facts=FACTS[name],
        answer=SOLVE[name],
        wrong=lambda rng, facts: _wrong(name, rng, facts),
        check=CHECK[name],
        asks=with_hints(ASKS[name], hints),
        show=_show,
        decor={"event": EVENTS},
        tags=("calendar",) if name in ("weekday", "month_end") else ("mathematics",),
        complexity=2.8 if name in ("weekday", "between") else 2.5,
        follow_ups=(SHIFTED, _from_answer(name)) if shifts else (_from_answer(name),) if name == "month_end" else (),
    )


SKILL = Skill(
    name="dates",
    tags=("date arithmetic",),
    contexts=(
        "I'm planning ahead with {name}.",
        "We're drawing up a schedule at {company}.",
        "I don't have a calendar in front of me.",
        "The office in {city} keeps asking me this.",
        "There's a deadline coming up.",
        "I'm sorting out some paperwork.",
    ),
    systems=("You are a calendar assistant and give short answers.", "You reckon with dates exactly."),
    tasks={name: _task(name) for name in ASKS},
)
