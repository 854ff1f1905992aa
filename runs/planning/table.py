"""A plan in the terminal: as a table, and as the few lines with which a run begins."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from siftune.runs.plan import Plan, Step
from siftune.runs.units import in_bytes, in_time, short

COLUMNS = ("stage", "name", "fingerprint", "state", "rows", "tokens", "FLOPs", "time", "memory", "disk", "cells")
WORDS = ("stage", "name", "fingerprint", "state", "cells")
"""Columns that are set left; the others hold numbers."""
DIGITS = 8
"""Of the fingerprints: Markdown and JSON have them whole."""
WIDE, PIPED = 110, 130
"""Characters in a line from which on there is room for fingerprints; and in a file."""
STYLES = {"cached": "dim", "read now": "dim", "unfinished": "yellow", "to do": ""}
UNKNOWN, NOTHING = "?", "-"


def print_table(plan: Plan, console: Console) -> None:
    """The stages, the totals, and what the numbers stand for."""
    swept = len(plan.cells) > 1
    if not console.is_terminal:
        # A file or a pipe has no width of its own.
        console.width = PIPED
    left_out = {*(() if swept else ("cells",)), *(("fingerprint",) if console.width < WIDE else ())}
    columns = [name for name in COLUMNS if name not in left_out]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in columns:
        title = "id" if name == "fingerprint" else name
        # Where the width is short, names alone are cut.
        table.add_column(title, justify="left" if name in WORDS else "right", no_wrap=name != "name")
    for step in plan.steps:
        values = cells_of(step)
        values["fingerprint"] = values["fingerprint"][:DIGITS]
        table.add_row(*(_line(values[name]) for name in columns), style=STYLES[step.state])
    table.add_section()
    totals = totals_of(plan)
    table.add_row(*(_line(totals.get(name, "")) for name in columns), style="bold")
    console.print(table)
    for line in [*(numbered(plan) if swept else []), *notes(plan)]:
        console.print(Text(line, style="dim"))


def print_compact(plan: Plan, console: Console) -> None:
    """A line a stage that is to do, or one line where nothing is."""
    if not plan.to_do:
        console.print(Text(f"plan: all {len(plan.steps)} stages are in the store", style="dim"))
        return
    there = len(plan.steps) - len(plan.to_do)
    stages = f"{len(plan.to_do)} stage{'' if len(plan.to_do) == 1 else 's'}"
    console.print(Text(f"plan: {stages} to do, {there} in the store; {sentence(plan)}", style="bold"))
    for step in plan.to_do:
        values = cells_of(step)
        known = [("rows", " rows"), ("tokens", " tokens"), ("time", ""), ("disk", " of disk")]
        parts = [values[name] + unit for name, unit in known if values[name] not in (UNKNOWN, NOTHING)]
        state = "" if step.state == "to do" else f" ({values['state']})"
        console.print(Text(f"  {step.kind} {step.name}{state}: {', '.join(parts) or 'time not known'}", style="dim"))


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def cells_of(step: Step) -> dict[str, str]:
    """Column -> what stands in it for a step."""
    cost, absent = step.cost, UNKNOWN if step.to_do else NOTHING
    time = absent if step.seconds is None else in_time(step.seconds)
    return {
        "stage": step.kind,
        "name": step.name,
        "fingerprint": step.fingerprint or UNKNOWN,
        "state": "{} of {}".format(*step.shards) if step.shards else step.state,
        "rows": absent if cost.rows is None else f"{cost.rows:,}",
        "tokens": absent if cost.tokens is None else short(cost.tokens),
        "FLOPs": absent if cost.flops is None else short(step.flops or 0),
        "time": f"~{time}" if step.basis == "calibrated" else time,
        "memory": absent if cost.memory is None else in_bytes(cost.memory),
        "disk": absent if step.disk is None else in_bytes(step.disk),
        "cells": ranges(step.cells),
    }


def totals_of(plan: Plan) -> dict[str, str]:
    """Column -> the sum over what is to do (of memory, the most)."""
    return {
        "stage": "to do",
        "name": f"{len(plan.to_do)} of {len(plan.steps)} stages",
        "tokens": short(plan.tokens),
        "FLOPs": short(plan.flops),
        "time": in_time(plan.seconds) if plan.to_do else NOTHING,
        "memory": in_bytes(plan.memory),
        "disk": in_bytes(plan.disk),
    }


def sentence(plan: Plan) -> str:
    """The totals in words."""
    untimed = sum(step.seconds is None for step in plan.to_do)
    timed = "" if untimed == len(plan.to_do) else f"about {in_time(plan.seconds)}"
    unknown = f"{untimed} of unknown time" if untimed else ""
    parts = [" and ".join(part for part in (timed, unknown) if part)]
    parts += [f"{short(plan.flops)}FLOP"] if plan.flops else []
    parts += [f"{in_bytes(plan.memory)} of memory at the peak, {in_bytes(plan.disk)} of disk"]
    parts += [f"{plan.usd:.2f} USD"] if plan.usd else []
    return ", ".join(parts)


def notes(plan: Plan) -> Iterator[str]:
    """What is free, and what the signs mean."""
    memory = "GPU memory" if plan.on_gpu else "memory"
    yield f"free: {in_bytes(plan.memory_free)} of {memory}, {in_bytes(plan.disk_free)} of disk at {plan.store}"
    if any(step.cost.memory for step in plan.to_do):
        yield "memory: of the models and their batches, beside about 1 GB of the process itself"
    if any(step.basis == "calibrated" for step in plan.to_do):
        yield "~ by this machine's measured speed; other times by what the same stage took before"
    if any(step.seconds is None for step in plan.to_do):
        yield "? not known before it is computed; the totals leave it out"
    if plan.usd:
        yield f"endpoints charge about {plan.usd:.2f} USD"
    if plan.undecided:
        yield f"not listed: stages of {', '.join(plan.undecided)}, which depend on what others find"


def numbered(plan: Plan) -> Iterator[str]:
    """The cells of a sweep by their numbers."""
    for number, name in enumerate(plan.cells, start=1):
        yield f"cell {number}: {name}"


def ranges(numbers: tuple[int, ...]) -> str:
    """Places from 0 as numbers from 1, runs joined: (0, 1, 2, 5) is 1-3,6."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][-1] == number:
            parts[-1][-1] = number + 1
        else:
            parts.append([number + 1, number + 1])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
