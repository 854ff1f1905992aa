"""The small database tables that SQL questions are about, and sample rows to run the queries on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from siftune.selection.pool.skills.words import CITIES, COMPANIES, PRODUCTS, SUBJECTS, SURNAMES


@dataclass(frozen=True)
class Table:
    """A table with one column that names the row, two that group rows, and one number."""

    name: str
    label: str
    groups: Mapping[str, tuple[str, ...]]
    number: str
    low: int
    high: int

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, in the order of the schema."""
        return ("id", self.label, *self.groups, self.number)


STATUSES = ("open", "paid", "shipped", "returned", "cancelled")
DEPARTMENTS = ("Finance", "Marketing", "Support", "Research", "Legal", "Sales")
GENRES = ("crime", "poetry", "travel", "science", "history", "fantasy")
PRIORITIES = ("low", "normal", "high", "urgent")

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table("orders", "customer", {"city": CITIES, "status": STATUSES}, "total", 10, 900),
        Table("employees", "name", {"department": DEPARTMENTS, "office": CITIES}, "salary", 1800, 9000),
        Table("products", "title", {"category": PRODUCTS, "supplier": COMPANIES}, "price", 2, 400),
        Table("books", "title", {"author": SURNAMES, "genre": GENRES}, "pages", 60, 900),
        Table("flights", "code", {"origin": CITIES, "destination": CITIES}, "minutes", 40, 800),
        Table("tickets", "subject", {"agent": SURNAMES, "priority": PRIORITIES}, "hours", 1, 90),
        Table("students", "name", {"course": SUBJECTS, "city": CITIES}, "grade", 10, 99),
        Table("hotels", "name", {"city": CITIES, "chain": COMPANIES}, "rooms", 12, 600),
        Table("invoices", "reference", {"client": COMPANIES, "status": STATUSES}, "amount", 20, 5000),
        Table("patients", "name", {"doctor": SURNAMES, "ward": ("east", "west", "north", "south")}, "age", 1, 99),
        Table("vehicles", "plate", {"depot": CITIES, "fuel": ("diesel", "electric", "petrol")}, "mileage", 500, 90000),
        Table("suppliers", "name", {"country": ("Spain", "Kenya", "Japan", "Chile"), "city": CITIES}, "rating", 1, 99),
        Table("courses", "title", {"teacher": SURNAMES, "subject": SUBJECTS}, "seats", 8, 250),
        Table("donations", "donor", {"campaign": SUBJECTS, "city": CITIES}, "amount", 5, 2000),
        Table("shipments", "code", {"carrier": COMPANIES, "destination": CITIES}, "weight", 1, 700),
        Table("players", "name", {"team": CITIES, "position": ("goalkeeper", "defender", "striker")}, "points", 1, 99),
    )
}


def sample_rows(table: Table, facts: Mapping[str, Any], count: int = 60) -> list[dict[str, Any]]:
    """Rows in which some match the question's value and limit, and some do not; the same for the same facts."""
    rng = Random(f"{table.name} {sorted(facts.items())}")
    pools = {group: _few(rng, values, facts, group) for group, values in table.groups.items()}
    rows = []
    wanted = rng.randrange(count)
    for number in range(count):
        key = facts["key"] if number == wanted and "key" in facts else 1000 + number
        row: dict[str, Any] = {"id": key, table.label: f"{table.label} {rng.randrange(10**6):06d}"}
        row |= {group: rng.choice(values) for group, values in pools.items()}
        row[table.number] = _number(rng, table, facts)
        rows.append(row)
    return rows


def _few(rng: Random, values: tuple[str, ...], facts: Mapping[str, Any], group: str) -> list[str]:
    chosen = rng.sample(values, min(3, len(values)))
    if facts.get("column") == group and "value" in facts:
        chosen.append(facts["value"])
    return chosen


def _number(rng: Random, table: Table, facts: Mapping[str, Any]) -> int:
    """Anything in the table's range, at times the limit itself: the edge that > and >= differ at."""
    if "limit" in facts and rng.random() < 0.2:
        return int(facts["limit"])
    return rng.randint(table.low, table.high)
