"""What every method cost, as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from siftune.runs.artifacts import read_record
from siftune.runs.reporting.content import Cell, Table
from siftune.runs.reporting.content import Column as Header
from siftune.runs.reporting.families import Family
from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.rows import decimals_for
from siftune.runs.tables import MISSING
from siftune.runs.units import in_bytes, in_time, short


def stage_seconds(run: RunRecord) -> float | None:
    """Of a record from before costs were kept: the seconds of the stages up to the training, unpacking models aside."""
    record = read_record(run.folder) or {}
    stages = record.get("summary", {}).get("stages", [])
    trained = [position for position, stage in enumerate(stages) if stage["kind"] == "checkpoint"]
    if not trained:
        return None
    return float(sum(stage["seconds"] for stage in stages[: trained[-1] + 1] if stage["kind"] != "model"))


@dataclass(frozen=True)
class _Cost:
    """A column of the table of costs."""

    header: str
    detail: str
    of: Callable[[RunRecord], float | None]
    spelled: Callable[[float], str]


def _of(phase: str, name: str) -> Callable[[RunRecord], float | None]:
    return lambda run: run.cost.get(phase, {}).get(name)


def _picked(key: str) -> Callable[[RunRecord], float | None]:
    return lambda run: (run.selection or {}).get(key)


TABLE = (
    _Cost("rows", "picked", _picked("rows"), lambda value: f"{value:,.0f}"),
    _Cost("tokens", "picked", _picked("tokens"), lambda value: f"{value:,.0f}"),
    *(_Cost("time", phase, _of(phase, "seconds"), in_time) for phase in ("selection", "training", "evaluation")),
    _Cost("time", "selection and training", lambda run: None if run.cost else stage_seconds(run), in_time),
    *(_Cost("FLOPs", phase, _of(phase, "flops"), short) for phase in ("selection", "training", "evaluation")),
    _Cost("FLOPs", "all, by RDS+'s formulas", _of("total", "formula_flops"), short),
    _Cost("peak memory", "", _of("total", "peak_memory_bytes"), in_bytes),
    _Cost("energy", "joules", _of("total", "energy_joules"), short),
)


def costs_table(family: Family, name: str) -> Table:
    """A row a method and budget; columns that no run knows are left out."""
    decimals = decimals_for([item.score.mean for item in family.rows])
    shown = [cost for cost in TABLE if any(cost.of(run) is not None for item in family.rows for run in item.row.runs)]
    several = len(family.budgets) > 1
    headers = [Header(header="method", numeric=False), *([Header(header="budget")] if several else [])]
    headers.append(Header(header=f"{family.column.name} {family.column.arrow}", detail=family.column.metric))
    headers += [Header(header=cost.header, detail=cost.detail) for cost in shown]
    rows = []
    for item in family.rows:
        line = [Cell(text=item.row.name, value=item.row.name)]
        line += [Cell(text=item.budget, value=item.amount[1])] if several else []
        line.append(Cell(text=f"{item.score.mean:.{decimals}f}", value=item.score.mean))
        line += [_cost_cell(cost, item.row.runs) for cost in shown]
        rows.append(tuple(line))
    return Table(name=name, columns=tuple(headers), rows=tuple(rows), caption=f"Costs: {family.title}")


def _cost_cell(cost: _Cost, runs: Sequence[RunRecord]) -> Cell:
    values = [cost.of(run) for run in runs]
    known = [float(value) for value in values if value is not None]
    if len(known) < len(values):
        return Cell(text=MISSING)
    value = fmean(known)
    return Cell(text=MISSING) if math.isnan(value) else Cell(text=cost.spelled(value), value=value)
