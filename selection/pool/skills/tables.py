"""Looking things up in a small table: a cell, the row of a value, the largest or smallest, how many pass a limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from siftune.selection.pool.skills.skill import Facts, FollowUp, Skill, Task, with_hints
from siftune.selection.pool.skills.words import CITIES, FIRST_NAMES, FRUITS, PRODUCTS

# What the rows are, their names, and the columns of figures with their ranges.
SUBJECTS: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, int, int], ...]], ...] = (
    ("city", CITIES, (("visitors", 100, 9900), ("hotels", 3, 90))),
    ("runner", FIRST_NAMES, (("minutes", 18, 75), ("points", 1, 100))),
    ("article", PRODUCTS, (("price", 2, 300), ("stock", 0, 500))),
    ("fruit", FRUITS, (("crates", 1, 90), ("price", 1, 30))),
    ("employee", FIRST_NAMES, (("hours", 4, 60), ("sales", 5, 400))),
    ("branch", CITIES, (("staff", 2, 80), ("revenue", 10, 990))),
    ("student", FIRST_NAMES, (("maths", 20, 100), ("physics", 20, 100))),
    ("station", CITIES, (("platforms", 2, 24), ("trains", 20, 800))),
)
HINTS = {
    "cell": ("Answer with the number only.", "Just the figure.", "Reply with the number."),
    "row": ("Answer with the name only.", "Just the name.", "Only the {key}, please."),
    "most": ("Answer with the name only.", "Just the name.", "Only the {key}, please."),
    "least": ("Answer with the name only.", "Just the name.", "Only the {key}, please."),
    "above": ("Answer with a number.", "Just the count.", "A single number is enough."),
}
BLOCKS = (
    "| {key} | {first} | {second} |\n{piped}",
    "{key},{first},{second}\n{separated}",
    "{key}; {first}; {second}\n{semicolons}",
)


def _table(rng: Random) -> dict[str, Any]:
    key, names, columns = rng.choice(SUBJECTS)
    count = rng.choice((3, 4, 4, 5))
    figures = [rng.sample(range(low, high), count) for _, low, high in columns]
    rows = [list(row) for row in zip(rng.sample(names, count), *figures, strict=True)]
    return {"key": key, "columns": [name for name, _, _ in columns], "rows": rows}


def _facts(name: str, rng: Random) -> Facts:
    facts = _table(rng)
    column = rng.randrange(2)
    row = rng.choice(facts["rows"])
    facts["column"] = facts["columns"][column]
    if name == "cell":
        facts["item"] = row[0]
    elif name == "row":
        facts["value"] = row[1 + column]
    elif name == "above":
        facts["limit"] = row[1 + column]
    return facts


def _place(facts: Facts) -> int:
    return 1 + int(facts["columns"].index(facts["column"]))


SOLVE: Mapping[str, Callable[[Facts, int], Any]] = {
    "cell": lambda f, i: next(row[i] for row in f["rows"] if row[0] == f["item"]),
    "row": lambda f, i: next(row[0] for row in f["rows"] if row[i] == f["value"]),
    "most": lambda f, i: max(f["rows"], key=lambda row: row[i])[0],
    "least": lambda f, i: min(f["rows"], key=lambda row: row[i])[0],
    "above": lambda f, i: sum(row[i] > f["limit"] for row in f["rows"]),
}


def _figures(facts: Facts) -> dict[str, int]:
    """The asked column, by row."""
    return {row[0]: dict(zip(facts["columns"], row[1:], strict=True))[facts["column"]] for row in facts["rows"]}


CHECK: Mapping[str, Callable[[Facts, str], bool]] = {
    "cell": lambda f, a: str(_figures(f)[f["item"]]) == a,
    "row": lambda f, a: _figures(f).get(a) == f["value"],
    "most": lambda f, a: all(_figures(f).get(a, -1) >= figure for figure in _figures(f).values()),
    "least": lambda f, a: all(_figures(f).get(a, 10**9) <= figure for figure in _figures(f).values()),
    "above": lambda f, a: a == str(len([figure for figure in _figures(f).values() if figure > f["limit"]])),
}
ASKS: Mapping[str, tuple[str, ...]] = {
    "cell": (
        "What does the table give as {column} for {item}?",
        "Look up the {column} of {item}.",
        "Find {item} in this table and tell me the {column}.",
        "I need the {column} for {item} from the list.",
    ),
    "row": (
        "Which {key} has {value} under {column}?",
        "Find the {key} with {value} in the {column} column.",
        "One {key} has {value} in the {column} column. Which one?",
    ),
    "most": (
        "Which {key} has the highest figure for {column}?",
        "Which {key} comes first by {column}?",
        "According to the table, which {key} leads in {column}?",
    ),
    "least": (
        "Which {key} has the lowest figure for {column}?",
        "Find the {key} with the smallest value under {column}.",
        "By {column}, which {key} comes last?",
    ),
    "above": (
        "How many rows have more than {limit} under {column}?",
        "Count the entries above {limit} under {column}.",
        "In how many rows is {column} greater than {limit}?",
    ),
}


def _show(facts: Facts) -> dict[str, Any]:
    rows = [[str(cell) for cell in row] for row in facts["rows"]]
    return {
        **facts,
        "first": facts["columns"][0],
        "second": facts["columns"][1],
        "piped": "\n".join(f"| {' | '.join(row)} |" for row in rows),
        "separated": "\n".join(",".join(row) for row in rows),
        "semicolons": "\n".join("; ".join(row) for row in rows),
    }


def _wrong(name: str, rng: Random, facts: Facts) -> str:
    """Another cell or another row of the same table."""
    right = SOLVE[name](facts, _place(facts))
    if name == "above":
        return str(rng.choice([n for n in range(len(facts["rows"]) + 1) if n != right]))
    cells = [row[_place(facts)] if name == "cell" else row[0] for row in facts["rows"]]
    return str(rng.choice([cell for cell in cells if cell != right]))


def _other_item(rng: Random, facts: Facts) -> Facts:
    return {**facts, "item": rng.choice([row[0] for row in facts["rows"] if row[0] != facts["item"]])}


def _other_column(rng: Random, facts: Facts) -> Facts:
    return {**facts, "column": next(column for column in facts["columns"] if column != facts["column"])}


FOLLOW_UPS: Mapping[str, tuple[FollowUp, ...]] = {
    "cell": (FollowUp(facts=_other_item, asks=("And for {item}?", "What about {item}?")),),
    "most": (FollowUp(facts=_other_column, asks=("And by {column}?", "What if I go by {column} instead?")),),
    "least": (FollowUp(facts=_other_column, asks=("And by {column}?", "What if I go by {column} instead?")),),
}


def _task(name: str) -> Task:
    return Task(
        facts=lambda rng: _facts(name, rng),
        answer=lambda facts: str(SOLVE[name](facts, _place(facts))),
        wrong=lambda rng, facts: _wrong(name, rng, facts),
        check=CHECK[name],
        asks=with_hints(ASKS[name], HINTS[name]),
        blocks=BLOCKS,
        show=_show,
        tags=("comparison",) if name in ("most", "least", "above") else ("data retrieval",),
        complexity=2.0 if name == "cell" else 2.5,
        follow_ups=FOLLOW_UPS.get(name, ()),
    )


SKILL = Skill(
    name="tables",
    tags=("table lookup",),
    contexts=(
        "I copied this from a report by {company}.",
        "{name} sent me a table.",
        "I can't open the spreadsheet on my phone.",
        "Please have a look at these figures.",
        "The numbers are from last month.",
        "I'm reading this out in a meeting.",
    ),
    systems=("You answer questions about tables with a single value.", "You are a data clerk and reply briefly."),
    tasks={name: _task(name) for name in ASKS},
)
