"""What a search makes better: the headline of a suite, or tasks of it, and which direction is better."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from siftune.evaluate.suite import Suite
from siftune.evaluate.tasks import LMEvalTask, ResponseLoss
from siftune.runs.artifacts import RECORD
from siftune.runs.build import ConfigError, unknown
from siftune.runs.reporting.rows import HEADLINE

Direction = Literal["maximize", "minimize"]
KEY = "hydra.sweeper.objective"


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The mean over tasks, or the headline."""

    tasks: tuple[str, ...]
    """Empty: the headline, as the suite makes it."""
    direction: Direction

    @property
    def name(self) -> str:
        """For tables and axes."""
        if len(self.tasks) > 3:
            return f"mean of {len(self.tasks)} tasks"
        return f"mean of {', '.join(self.tasks)}" if len(self.tasks) > 1 else "".join(self.tasks) or HEADLINE

    def value(self, run: Path) -> float:
        """Of a recorded run; ConfigError where its tasks turn out to have another direction."""
        results = json.loads((run / RECORD).read_text(encoding="utf-8"))["summary"]["results"]
        headline = results["headline"] or {"tasks": ()}
        names = self.tasks or headline["tasks"]
        if not names:
            raise ConfigError(f"{run}: the suite made no headline: name tasks with {KEY}")
        for name in names:
            higher = results["tasks"][name]["higher_is_better"]
            if higher != (self.direction == "maximize"):
                better = "higher" if higher else "lower"
                raise ConfigError(f"the objective {name} is better {better}: hydra.sweeper.direction={self.direction}")
        return fmean(results["tasks"][name]["value"] for name in names) if self.tasks else float(headline["value"])


def objective_of(suite: Suite | None, named: str | tuple[str, ...] | None, direction: Any) -> Objective:
    """The objective of a search whose trials are measured on this suite; ConfigError for one that has none.

    direction: the one given, None to take that of the tasks."""
    if suite is None:
        raise ConfigError("evaluate=none leaves a search nothing to go by: name a suite, e.g. evaluate=skills")
    tasks = (named,) if isinstance(named, str) else tuple(named or ())
    for task in tasks:
        if task not in suite.tasks:
            raise ConfigError(unknown(f"{KEY}={task}", task, suite.tasks, f"task of evaluate={suite.name}"))
    known = {higher for name in tasks or suite.headline if (higher := _higher_is_better(suite, name)) is not None}
    if len(known) > 1:
        raise ConfigError(f"{KEY}={','.join(tasks)} mixes losses (lower is better) with scores: keep one kind")
    if not tasks and not suite.headline:
        _require_scores(suite)
        known = {True}
    return Objective(tasks=tasks, direction=_direction(known, direction))


def _direction(known: set[bool], given: Any) -> Direction:
    wanted: Direction | None = None if not known else "maximize" if known == {True} else "minimize"
    if given is None and wanted is None:
        raise ConfigError("lm-eval alone knows which direction is better here: add hydra.sweeper.direction=maximize")
    if given is not None and wanted is not None and given != wanted:
        kind = "scores are maximised" if wanted == "maximize" else "losses are minimised"
        raise ConfigError(f"hydra.sweeper.direction={given}: {kind} here; hydra.sweeper.direction={wanted} is right")
    chosen: Direction = wanted or given
    return chosen


def _higher_is_better(suite: Suite, name: str) -> bool | None:
    """None: lm-eval knows."""
    task = suite.tasks[name]
    if isinstance(task, LMEvalTask):
        return task.higher_is_better
    return not isinstance(task, ResponseLoss)


def _require_scores(suite: Suite) -> None:
    """A headline that nobody has named is the mean of the scores."""
    if all(_higher_is_better(suite, name) is False for name in suite.tasks):
        some = ",".join(list(suite.tasks)[:2])
        raise ConfigError(
            f"evaluate={suite.name} has losses alone, which make no headline: name the tasks whose mean is searched "
            f"for, e.g. '{KEY}=[{some}]'"
        )


def plain_objective(objective: Objective) -> Mapping[str, Any]:
    """As it is kept."""
    return {"tasks": list(objective.tasks), "direction": objective.direction}
