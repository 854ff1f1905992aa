"""Reading the records of finished runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RECORD = "record.json"


class ReportError(ValueError):
    """There is nothing to report, or a record cannot be read; the message says where and what to do."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One task's result in one run."""

    metric: str
    value: float
    stderr: float | None
    """Standard error over the task's documents."""
    higher_is_better: bool
    samples: int


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a report needs of one run's record."""

    folder: Path
    fingerprint: str
    created: str
    """ISO 8601, UTC."""
    seconds: float
    commit: str | None
    label: str
    group: str | None
    seed: int
    model: str
    pool: str
    pool_fingerprint: str | None
    targets: tuple[str, ...]
    budget: str
    suite: str | None
    scores: Mapping[str, Score]
    headline: float | None
    headline_tasks: tuple[str, ...]
    selection: Mapping[str, Any] | None
    """method, rows, tokens, target_share, sources_pool, sources_subset; None where nothing was picked."""
    training: Mapping[str, Any] | None
    config: Mapping[str, Any]
    evaluation: str | None = None
    """Fingerprint of the evaluation; None where nothing was evaluated."""
    cost: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """selection, training, evaluation, total -> flops, formula_flops, seconds, energy_joules, peak_memory_bytes
    (runs/run_cost.py); empty of runs from before costs were recorded."""
    contamination: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Task -> documents, searched, contaminated, rows: how many test documents there are, could be found, are in the
    picked rows, and how many of these hold one (runs/run_contamination.py); empty where it was not searched."""

    @property
    def is_base(self) -> bool:
        """Whether this is the base model as it came: nothing picked, nothing trained."""
        return self.selection is None and self.training is None

    @property
    def measured(self) -> tuple[Any, ...]:
        """What was measured on which model; only runs that agree in this can be compared."""
        tasks = tuple(sorted((name, score.metric, score.samples) for name, score in self.scores.items()))
        return (self.model, self.suite, tasks)


def read_run(folder: Path) -> RunRecord:
    """The record in a run's folder; ReportError naming the file where it is missing, no JSON or incomplete."""
    path = folder / RECORD
    try:
        return _parse(folder, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ReportError(f"{path} does not exist: the run is unfinished; start it again to finish it") from error
    except KeyError as error:
        raise ReportError(f"{path} is not a complete run record: it has no {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ReportError(f"{path} is not a run record: {error}") from error


def read_store(store: Path, complain: Callable[[str], None]) -> list[RunRecord]:
    """All finished runs of a store, oldest first. Folders without a record (unfinished) are passed over; a record that
    cannot be read is passed to `complain` and left out."""
    runs = []
    for path in sorted((store / "run").glob(f"*/{RECORD}")):
        try:
            runs.append(read_run(path.parent))
        except ReportError as error:
            complain(f"left out: {error}")
    return sorted(runs, key=lambda run: (run.created, run.label, run.seed))


def choose(runs: Iterable[RunRecord], group: str | None, labels: Iterable[str]) -> list[RunRecord]:
    """The runs of a group (None: all) and of these labels (none: all). The base model belongs to every group whose runs
    were measured like it."""
    listed, wanted = list(runs), set(labels)
    chosen = [run for run in listed if group is None or run.group == group]
    measured = {run.measured for run in chosen}
    chosen += [run for run in listed if run.is_base and run.measured in measured and run not in chosen]
    return [run for run in chosen if not wanted or run.label in wanted]


def _parse(folder: Path, record: Mapping[str, Any]) -> RunRecord:
    summary = record["summary"]
    results = summary["results"] or {"tasks": {}, "headline": None}
    headline = results["headline"] or {"value": None, "tasks": ()}
    return RunRecord(
        folder=folder,
        fingerprint=record["fingerprint"],
        created=record["created"],
        seconds=float(record["seconds"]),
        commit=record.get("commit"),
        label=summary["label"],
        group=summary["group"],
        seed=int(summary["seed"]),
        model=summary["model"],
        pool=summary["pool"],
        pool_fingerprint=record["inputs"].get("pool"),
        targets=tuple(summary["targets"]),
        budget=_budget(summary["budget"]),
        suite=summary.get("suite"),
        scores={name: _score(task) for name, task in results["tasks"].items()},
        headline=headline["value"],
        headline_tasks=tuple(headline["tasks"]),
        selection=summary["selection"],
        training=summary["training"],
        config=record["config"],
        evaluation=record["inputs"].get("evaluation"),
        cost=summary.get("cost") or {},
        contamination=summary.get("contamination") or {},
    )


def _score(task: Mapping[str, Any]) -> Score:
    return Score(
        metric=task["metric"],
        value=float(task["value"]),
        stderr=task["stderr"],
        higher_is_better=bool(task["higher_is_better"]),
        samples=int(task["samples"]),
    )


def _budget(budget: Mapping[str, Any]) -> str:
    amount, unit = float(budget["amount"]), budget["unit"]
    return f"{amount:.4g} of the pool" if unit == "fraction" else f"{amount:,.0f} {unit}"
