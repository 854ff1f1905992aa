"""A plan as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from siftune.runs.plan import Plan, Step
from siftune.runs.planning.table import COLUMNS, WORDS, cells_of, notes, numbered, totals_of


def to_markdown(plan: Plan) -> str:
    """A table, the cells by their numbers, and what the signs mean."""
    rows = [cells_of(step) for step in plan.steps]
    lines = [
        COLUMNS,
        tuple("---" if name in WORDS else "---:" for name in COLUMNS),
        *(tuple(row[name] for name in COLUMNS) for row in rows),
        tuple(totals_of(plan).get(name, "") for name in COLUMNS),
    ]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{table}\n\n" + "\n".join(f"- {line}" for line in [*numbered(plan), *notes(plan)])


def to_json(plan: Plan) -> dict[str, Any]:
    """All of it; bytes, seconds and operations, null for what is not known."""
    names = ("seconds", "flops", "tokens", "memory", "disk", "usd")
    return {
        "store": str(plan.store),
        "steps": [_step(step, plan) for step in plan.steps],
        "to_do": {name: getattr(plan, name) for name in names},
        "free": {"memory": plan.memory_free, "memory_is_gpu": plan.on_gpu, "disk": plan.disk_free},
        "undecided": list(plan.undecided),
    }


def _step(step: Step, plan: Plan) -> dict[str, Any]:
    cost = dataclasses.asdict(step.cost)
    del cost["remedy"]
    return {
        "kind": step.kind,
        "name": step.name,
        "fingerprint": step.fingerprint,
        "state": step.state,
        "shards": None if step.shards is None else {"there": step.shards[0], "all": step.shards[1]},
        **cost,
        "seconds": step.seconds,
        "seconds_from": step.basis,
        "cells": [plan.cells[number] for number in step.cells],
    }
