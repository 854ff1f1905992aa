"""Where a report's figures come from: its runs, what sets them apart, time per stage, artifacts, machines, failures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siftune.runs.artifacts import read_record
from siftune.runs.listing.config import RunsConfig
from siftune.runs.listing.stored_runs import Run, list_runs
from siftune.runs.listing.tables import differences, leaves
from siftune.runs.reporting.content import Cell, Column, Part, Table
from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.rows import Row, sections
from siftune.runs.tables import MISSING

NAME = "provenance"
COMMIT_DIGITS = 10
FAILED = ("failed", "unfinished")
APART_BY_NATURE = frozenset({"seed", "label", "group", "paper"})
"""Settings that are seen elsewhere."""


@dataclass(frozen=True)
class Origin:
    """A run, and the whole of its record."""

    run: RunRecord
    record: Mapping[str, Any]

    @property
    def stages(self) -> Sequence[Mapping[str, Any]]:
        """kind, name, fingerprint, seconds, cached."""
        found: Sequence[Mapping[str, Any]] = self.record.get("summary", {}).get("stages", ())
        return found


def provenance_part(runs: Sequence[RunRecord], store: Path) -> Part:
    """Of these runs of a store."""
    origins = [Origin(run, read_record(run.folder) or {}) for run in runs]
    rows = [row for section in sections(runs) for row in section.rows]
    tables = [_runs(origins), _settings(rows), _times(origins), _artifacts(origins), _machines(origins)]
    failed = _failed(runs, store)
    text = [_summary(origins)]
    if failed:
        text.append(f"{len(failed)} more runs of these groups failed or are unfinished: no figure has them.")
    tables.append(_attempts(failed))
    return Part(name=NAME, title="Provenance", text=text, tables=[table for table in tables if table is not None])


def _summary(origins: Sequence[Origin]) -> str:
    made = [stage for origin in origins for stage in origin.stages if not stage["cached"]]
    found = sum(len(origin.stages) for origin in origins) - len(made)
    hours = sum(stage["seconds"] for stage in made) / 3600
    commits = sorted({origin.run.commit[:COMMIT_DIGITS] for origin in origins if origin.run.commit})
    at = f" at commit {', '.join(commits)}" if commits else ""
    return (
        f"{len(origins)} runs{at}. Their stages were computed {len(made)} times, in {hours:,.2f} hours together, and "
        f"found in the store {found} times."
    )


def _runs(origins: Sequence[Origin]) -> Table:
    headers = ("run", "seed", "model", "pool", "budget", "id", "commit", "recorded (UTC)", "seconds")
    rows = []
    for origin in origins:
        run = origin.run
        pool, budget = (MISSING, MISSING) if run.is_base else (run.pool, run.budget)
        command = " ".join(str(word) for word in origin.record.get("argv", ()))
        commit = run.commit[:COMMIT_DIGITS] if run.commit else MISSING
        words = [run.model, pool, budget, run.fingerprint, commit, run.created[:16].replace("T", " ")]
        rows.append(
            (
                Cell(text=run.label, value=run.label, note=command),
                _number(run.seed),
                *(_word(word) for word in words),
                _number(run.seconds),
            )
        )
    return _table(
        "runs", "The runs, and what their results cost to compute, whoever did", headers, rows, {"seed", "seconds"}
    )


def _settings(rows: Sequence[Row]) -> Table | None:
    """A line a setting in which the rows of the leaderboard differ, a column a row."""
    configs = [leaves(row.runs[0].config) for row in rows]
    kept = [key for key in differences(configs) if key.split(".")[0] not in APART_BY_NATURE]
    if len(rows) < 2 or not kept:
        return None
    lines = [(_word(key), *(_word(config.get(key, MISSING)) for config in configs)) for key in kept]
    headers = ("setting", *(row.name for row in rows))
    return _table("settings", "Settings in which the methods differ", headers, lines, set())


def _times(origins: Sequence[Origin]) -> Table | None:
    """Seconds of each kind of stage in each run."""
    kinds = list(dict.fromkeys(stage["kind"] for origin in origins for stage in origin.stages))
    if not kinds:
        return None
    lines = []
    for origin in origins:
        cells = [_spent([stage for stage in origin.stages if stage["kind"] == kind]) for kind in kinds]
        lines.append((_word(origin.run.label), _number(origin.run.seed), *cells))
    caption = "Seconds per stage; what was found in the store stands in parentheses"
    return _table("stages", caption, ("run", "seed", *kinds), lines, {"seed", *kinds})


def _spent(stages: Sequence[Mapping[str, Any]]) -> Cell:
    if not stages:
        return Cell(text=MISSING)
    seconds = sum(stage["seconds"] for stage in stages)
    computed = sum(not stage["cached"] for stage in stages)
    text = f"{seconds:,.1f}" if computed else f"({seconds:,.1f})"
    note = f"{computed} computed, {len(stages) - computed} found"
    return Cell(text=text, value=seconds, note=note if len(stages) > 1 else "")


def _artifacts(origins: Sequence[Origin]) -> Table | None:
    """Every artifact once, whoever computed it."""
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for origin in origins:
        for stage in origin.stages:
            stages.setdefault(f"{stage['kind']}/{stage['name']}-{stage['fingerprint']}", []).append(stage)
    lines = []
    for uses in stages.values():
        first = uses[0]
        by = "one of these runs" if any(not stage["cached"] for stage in uses) else "an earlier one"
        words = [_word(str(first[key])) for key in ("name", "kind", "fingerprint")]
        lines.append((*words, _number(first["seconds"], 1), _word(by), _number(len(uses))))
    headers = ("artifact", "kind", "id", "seconds", "computed by", "runs that use it")
    return _table("artifacts", "Artifacts", headers, lines, {"seconds", "runs that use it"}) if lines else None


def _machines(origins: Sequence[Origin]) -> Table | None:
    """Versions and hardware; a column for each that the runs were made with."""
    seen: dict[str, dict[str, str]] = {}
    for origin in origins:
        facts = {**origin.record.get("versions", {}), **origin.record.get("hardware", {})}
        if facts:
            seen.setdefault(json.dumps(facts, sort_keys=True), {key: _fact(value) for key, value in facts.items()})
    if not seen:
        return None
    keys = list(dict.fromkeys(key for facts in seen.values() for key in facts))
    lines = [(_word(key), *(_word(facts.get(key, MISSING)) for facts in seen.values())) for key in keys]
    names = ("all runs",) if len(seen) == 1 else tuple(f"environment {number + 1}" for number in range(len(seen)))
    return _table("machines", "Versions and hardware", ("what", *names), lines, set())


def _fact(value: Any) -> str:
    return (", ".join(str(item) for item in value) or "none") if isinstance(value, list) else str(value)


def _failed(runs: Sequence[RunRecord], store: Path) -> list[Run]:
    groups = {run.group for run in runs if not run.is_base}
    listed = list_runs(RunsConfig(store=store), lambda text: None, lambda attempt, record, folder: None)
    return [run for run in listed if run.state in FAILED and run.group in groups]


def _attempts(failed: Sequence[Run]) -> Table | None:
    headers = ("run", "seed", "state", "when (UTC)", "error")
    lines = [
        (_word(run.label), _number(run.seed), *map(_word, (run.state, run.when[:16].replace("T", " "), run.why or "")))
        for run in failed
    ]
    return _table("failed", "Failed and unfinished runs", headers, lines, {"seed"}) if lines else None


def _table(
    name: str, caption: str, headers: Sequence[str], rows: Sequence[tuple[Cell, ...]], numeric: set[str]
) -> Table:
    columns = tuple(Column(header=header, numeric=header in numeric) for header in headers)
    return Table(name=f"{NAME}-{name}", columns=columns, rows=tuple(rows), caption=caption, collapsed=True)


def _word(text: str) -> Cell:
    return Cell(text=text, value=None if text == MISSING else text)


def _number(value: float, decimals: int = 0) -> Cell:
    return Cell(text=f"{value:,.{decimals}f}", value=value)
