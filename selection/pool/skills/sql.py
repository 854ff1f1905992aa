"""SQL from questions about one small table, in one house style: keywords in capitals, named results, one line."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from siftune.selection.pool.skills.schemas import TABLES
from siftune.selection.pool.skills.skill import Facts, FollowUp, Skill, Task, phrasings
from siftune.selection.pool.skills.sql_check import agree, expected, run

FRAMES = (
    "Write a SQL query to {do}.",
    "How do I {do} in SQL?",
    "Give me the SQL statement to {do}.",
    "I have to {do}. What's the query?",
    "{Do}. One SQL statement, please.",
    "Please write the SQL that will {do}.",
    "SQL to {do}?",
    "Can you {do}? SQL only, please.",
    "I'd like to {do}. Which SQL does that?",
    "What statement should I run to {do}?",
    "For the report I must {do}. Help me with the SQL.",
    "{Do}, using the table described here.",
)
BLOCKS = (
    "Table: {table}({columns})",
    "Schema: {table} ({columns})",
    "Columns of {table}: {columns}",
    "The table is called {table} and has the columns {columns}.",
)

TEMPLATES: Mapping[str, str] = {
    "count": "SELECT COUNT(*) AS total FROM {table} WHERE {column} = '{value}';",
    "list": "SELECT {label} FROM {table} WHERE {column} = '{value}' ORDER BY {label} ASC;",
    "above": "SELECT {label} FROM {table} WHERE {number} > {limit} ORDER BY {label} ASC;",
    "top": "SELECT {label}, {number} FROM {table} ORDER BY {number} DESC LIMIT {count};",
    "average": "SELECT ROUND(AVG({number}), 2) AS average FROM {table} WHERE {column} = '{value}';",
    "group": "SELECT {column}, COUNT(*) AS total FROM {table} GROUP BY {column} HAVING COUNT(*) > {least};",
    "update": "UPDATE {table} SET {column} = '{value}' WHERE id = {key};",
    "delete": "DELETE FROM {table} WHERE {column} = '{value}';",
}
MISTAKES: Mapping[str, tuple[str, ...]] = {
    "count": (
        "SELECT {column} FROM {table} WHERE COUNT = '{value}';",
        "SELECT COUNT(*) AS total FROM {table} WHERE {column} <> '{value}';",
    ),
    "list": (
        "SELECT {label} FROM {table} ORDER BY {column} ASC;",
        "SELECT {column} FROM {table} WHERE {label} = '{value}';",
    ),
    "above": (
        "SELECT {label} FROM {table} WHERE {number} < {limit} ORDER BY {label} ASC;",
        "SELECT {label} FROM {table} HAVING {number} = {limit};",
    ),
    "top": (
        "SELECT {label}, {number} FROM {table} ORDER BY {number} ASC LIMIT {count};",
        "SELECT MAX({number}) FROM {table};",
    ),
    "average": (
        "SELECT SUM({number}) AS average FROM {table} WHERE {column} = '{value}';",
        "SELECT AVG({column}) FROM {table};",
    ),
    "group": (
        "SELECT {column} FROM {table} WHERE COUNT(*) > {least};",
        "SELECT {column}, COUNT(*) AS total FROM {table} GROUP BY {column} HAVING COUNT(*) < {least};",
    ),
    "update": (
        "UPDATE {table} SET {column} = '{value}';",
        "INSERT INTO {table} ({column}) VALUES ('{value}');",
    ),
    "delete": ("DELETE FROM {table};", "DROP TABLE {table};", "DELETE FROM {table} WHERE {column} <> '{value}';"),
}
ACTIONS: Mapping[str, tuple[str, ...]] = {
    "count": (
        "count the {table} whose {column} is {value}",
        "find out how many {table} have {value} as their {column}",
        "get the number of {table} with {column} {value}",
    ),
    "list": (
        "list the {label} of all {table} whose {column} is {value}, in alphabetical order",
        "show the {label} of every row in {table} with {column} {value}, sorted by {label}",
        "get each {label} in {table} where the {column} is {value}, from A to Z",
    ),
    "above": (
        "list the {label} of the {table} whose {number} is above {limit}, in alphabetical order",
        "show every {label} in {table} whose {number} is more than {limit}, sorted by {label}",
        "find the {label} of all {table} where the {number} exceeds {limit}, from A to Z",
    ),
    "top": (
        "show the {label} and {number} of the {count} {table} with the highest {number}",
        "get the top {count} {table} by {number}, with {label} and {number}",
        "list {label} and {number} for the {count} {table} that have the largest {number}",
    ),
    "average": (
        "get the average {number} of the {table} whose {column} is {value}, to two decimals",
        "work out the mean {number} of all {table} with {column} {value}, rounded to two decimals",
        "compute the average {number} in {table} where {column} is {value}, with two decimals",
    ),
    "group": (
        "count the {table} for each {column}, keeping only those with more than {least}",
        "show how many {table} there are per {column}, but just where there are over {least}",
        "find each {column} that has more than {least} {table}, together with that number",
    ),
    "update": (
        "set the {column} of the row with id {key} in {table} to {value}",
        "change the {column} to {value} for id {key} in {table}",
        "correct number {key} in {table}, whose {column} should be {value}",
    ),
    "delete": (
        "delete all {table} whose {column} is {value}",
        "remove every row of {table} where the {column} is {value}",
        "get rid of the {table} with {column} {value}",
    ),
}
AGAIN: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "count": ("value", ("And for {value}?", "Now the same for {value}, please.")),
    "list": ("value", ("What about {value}?", "Do that for {value} too.")),
    "above": ("limit", ("Change the limit to {limit}.", "And above {limit}?")),
    "top": ("count", ("Make it the top {count}.", "I only need {count} of them.")),
    "average": ("value", ("And the average for {value}?", "Same again for {value}.")),
    "group": ("least", ("Use {least} as the threshold instead.", "And with more than {least}?")),
    "update": ("key", ("Apply the same change to id {key}.", "And for id {key}?")),
    "delete": ("value", ("Those with {value} can go too.", "Now remove {value} as well.")),
}
TAGS: Mapping[str, tuple[str, ...]] = {
    "count": ("aggregation",),
    "average": ("aggregation", "mathematics"),
    "group": ("aggregation",),
    "top": ("sorting",),
    "update": ("data modification",),
    "delete": ("data modification", "data cleaning"),
}


def _draw(rng: Random) -> dict[str, Any]:
    """The facts of any task; each keeps those that its template names."""
    table = TABLES[rng.choice(sorted(TABLES))]
    column = rng.choice(sorted(table.groups))
    step = 10 ** max(0, len(str(table.high)) - 2)
    return {
        "table": table.name,
        "label": table.label,
        "number": table.number,
        "column": column,
        "value": rng.choice(table.groups[column]),
        "limit": rng.randrange(table.low + step, table.high - step) // step * step,
        "count": rng.choice((3, 4, 5, 6, 8, 10, 12, 15, 20, 25)),
        "least": rng.randrange(2, 26),
        "key": rng.randrange(3, 900),
    }


def _facts(name: str, rng: Random) -> Facts:
    drawn = _draw(rng)
    return {field: value for field, value in drawn.items() if f"{{{field}}}" in TEMPLATES[name]}


def _change(name: str, field: str, rng: Random, facts: Facts) -> Facts:
    """The facts with one of them drawn again, for the same table and column, until it differs."""
    while True:
        drawn = _facts(name, rng)
        same_place = all(drawn.get(place) == facts.get(place) for place in ("table", "column"))
        if same_place and drawn[field] != facts[field]:
            return {**facts, field: drawn[field]}


def _shown(facts: Facts) -> Mapping[str, Any]:
    return {**facts, "columns": ", ".join(TABLES[facts["table"]].columns)}


def _check(name: str, facts: Facts, answer: str) -> bool:
    """Right is the house style's query, and it returns what the question asks for."""
    if answer != TEMPLATES[name].format_map(facts):
        return False
    result = run(answer, facts)
    return agree(sorted(result) if name == "group" else result, expected(name, facts))


def _task(name: str) -> Task:
    field, asks = AGAIN[name]
    return Task(
        facts=lambda rng: _facts(name, rng),
        answer=TEMPLATES[name].format_map,
        wrong=lambda rng, facts: rng.choice(MISTAKES[name]).format_map(facts),
        check=lambda facts, answer: _check(name, facts, answer),
        asks=phrasings(FRAMES, ACTIONS[name]),
        blocks=BLOCKS,
        show=_shown,
        tags=TAGS.get(name, ("data retrieval",)),
        complexity=4.4 if name in ("group", "average") else 3.6,
        follow_ups=(FollowUp(facts=lambda rng, facts: _change(name, field, rng, facts), asks=asks),),
    )


SKILL = Skill(
    name="sql",
    tags=("sql", "database"),
    contexts=(
        "I'm new to the reporting team at {company}.",
        "{name} asked me for some figures before lunch.",
        "We keep this in SQLite at {company}.",
        "I'm learning databases and practising on a small table.",
        "This goes into our weekly dashboard.",
        "The analyst who usually does this is away.",
        "I only know spreadsheets, sorry.",
        "We're checking the data after a migration.",
    ),
    systems=(
        "You write SQL for an analytics team. Reply with the query only.",
        "You are a database assistant. Answer with one SQL statement.",
        "Answer in our team's house style for SQL.",
    ),
    tasks={name: _task(name) for name in TEMPLATES},
)
