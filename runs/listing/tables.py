"""How `siftune runs` prints: the list, and the differences of configs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from siftune.runs.listing.stored_runs import Run
from siftune.runs.tables import MISSING, Cells, fitting

STYLES = {"done": "green", "failed": "red", "running": "cyan", "unfinished": "yellow", "stale": "magenta"}
NOT_SHOWN = frozenset({"store", "tracking", "check_resources"})
"""Parts of a config that do not make runs differ."""
LONGEST = 48
"""Characters of a value that are shown."""


def print_runs(runs: Sequence[Run], console: Console) -> None:
    """A table a group with a line a run; then why the failed and the stale ones are so."""
    for group in dict.fromkeys(run.group for run in runs):
        console.print(Text(f"group {group or MISSING}", style="bold"), soft_wrap=True)
        console.print(_table([run for run in runs if run.group == group]))
        console.print()
    console.print(Text(_counts(runs), style="dim"))
    for run in runs:
        if run.why is not None:
            about = f"{run.short_id} {run.label}, seed {run.seed}: {run.why}"
            console.print(Text(about, style=STYLES[run.state]), soft_wrap=True)
        if run.traceback is not None:
            console.print(Text(f"  {run.traceback}", style="dim"), soft_wrap=True)


def print_differences(runs: Sequence[Run], console: Console) -> None:
    """A line for each setting in which the configs differ, a column a run."""
    settings = [leaves(run.config) for run in runs]
    differing = differences(settings)
    columns = []
    for run, values in zip(runs, settings, strict=True):
        about = [_score(run), *(_cut(values.get(key, MISSING)) for key in differing)]
        detail = f"seed {run.seed}, {run.short_id}"
        columns.append(Cells(run.label, detail, tuple(about), tuple(False for _ in about)))
    for table in fitting(["headline", *differing], columns, console, "setting"):
        console.print(table)
    if not differing:
        console.print("Their configs are the same.", style="dim")


def differences(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """The settings that not all have, or not with the same value, in the order of the first config."""
    keys = dict.fromkeys(key for values in settings for key in values)
    return [key for key in keys if len({values.get(key) for values in settings}) > 1]


def leaves(config: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Path of a setting -> its value as text."""
    found: dict[str, str] = {}
    for key, value in config.items():
        place = f"{above}{key}"
        if place in NOT_SHOWN:
            continue
        if isinstance(value, Mapping) and value:
            found |= leaves(value, f"{place}.")
        else:
            found[place] = value if isinstance(value, str) else json.dumps(value)
    return found


def _table(runs: Sequence[Run]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for header in ("id", "state", "run", "seed", "headline", "when (UTC)", "seconds"):
        numeric = header in ("seed", "headline", "seconds")
        table.add_column(header, justify="right" if numeric else "left", no_wrap=header != "run", overflow="fold")
    for run in runs:
        when = datetime.fromisoformat(run.when).strftime("%Y-%m-%d %H:%M")
        seconds = MISSING if run.seconds is None else f"{run.seconds:,.0f}"
        state = Text(run.state, style=STYLES[run.state])
        table.add_row(run.short_id, state, Text(run.label), str(run.seed), _score(run), when, seconds)
    return table


def _score(run: Run) -> str:
    return MISSING if run.headline is None else f"{run.headline:.4f}"


def _counts(runs: Sequence[Run]) -> str:
    counts = {state: sum(run.state == state for run in runs) for state in STYLES}
    shown = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"{len(runs)} run{'s' if len(runs) > 1 else ''}: {shown}"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
