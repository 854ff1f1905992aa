"""What is kept of a search: its trials, in a file that is written anew, whole, after each step.

A file of our own rather than one of Optuna's data bases: stores lie on network file systems, where SQLite's locks fail,
and people can read it. Optuna's study is made from it when the search is started again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from siftune.runs.artifacts import write_json
from siftune.runs.build import ConfigError
from siftune.runs.searching.space import Value

KIND = "search"
FILE = "search.json"
TrialState = Literal["running", "complete", "pruned", "failed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rung:
    """A run of a trial, at one of its budgets."""

    budget: float
    value: float
    """The objective."""
    run: str
    """Folder of its record, below the store."""
    overrides: tuple[str, ...]
    """What made it, after the fixed ones."""


@dataclasses.dataclass(kw_only=True)
class Trial:
    """A point of the space, and how far it came."""

    number: int
    """From 0, as Optuna counts."""
    params: Mapping[str, Value]
    """Those that apply: a setting that the trial's method does not have is not among them."""
    state: TrialState = "running"
    rungs: list[Rung] = dataclasses.field(default_factory=list)
    error: str | None = None

    @property
    def value(self) -> float | None:
        """The objective at the last budget that it came to; only those of complete trials compare."""
        return self.rungs[-1].value if self.rungs else None


@dataclasses.dataclass(kw_only=True)
class Search:
    """A search and its trials, by number."""

    name: str
    objective: str
    direction: Literal["maximize", "minimize"]
    space: Sequence[str]
    """The parameters, as on the command line."""
    fixed: Sequence[str]
    """The overrides that all trials share."""
    settings: Mapping[str, Any]
    """What makes it another search: config, space, objective, rungs, pruner, sampler, seeds."""
    trials: list[Trial] = dataclasses.field(default_factory=list)

    @property
    def best(self) -> Trial | None:
        """The complete trial with the best value; of equal ones the first."""
        done = [trial for trial in self.trials if trial.state == "complete"]
        sign = 1 if self.direction == "minimize" else -1
        return min(done, key=lambda trial: sign * (trial.value or 0.0), default=None)

    def count(self, state: TrialState) -> int:
        """How many trials are in this state."""
        return sum(trial.state == state for trial in self.trials)


def write_search(folder: Path, search: Search) -> None:
    """Write it, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    best = search.best
    write_json(folder / FILE, dataclasses.asdict(search) | {"best": None if best is None else best.number})


def read_search(folder: Path) -> Search | None:
    """The search of this folder, or None."""
    path = folder / FILE
    if not path.is_file():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    trials = [_trial(trial) for trial in kept["trials"]]
    names = {field.name for field in dataclasses.fields(Search)} - {"trials"}
    return Search(**{name: kept[name] for name in names}, trials=trials)


def continued(folder: Path, begun: Search) -> Search:
    """The search as it was left, or `begun`; ConfigError where the folder has another one of that name."""
    kept = read_search(folder)
    if kept is None:
        return begun
    differing = [key for key in begun.settings if kept.settings.get(key) != begun.settings[key]]
    if differing:
        raise ConfigError(
            f"hydra.sweeper.study_name={begun.name}: the search of that name in {folder} has another "
            f"{', another '.join(differing)}: start it as it was, or give this one another name"
        )
    return kept


def _trial(kept: Mapping[str, Any]) -> Trial:
    rungs = [Rung(**{**rung, "overrides": tuple(rung["overrides"])}) for rung in kept["rungs"]]
    return Trial(**{**kept, "rungs": rungs})
