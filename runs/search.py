"""A search: trials proposed by Optuna from those before, each run at rising budgets until it ends or is pruned."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from siftune.runs.config import ExperimentConfig, experiment_config
from siftune.runs.fingerprint import fingerprint
from siftune.runs.preflight import plain_node
from siftune.runs.searching.cells import Cells, Compose, check_rungs, check_space, steps
from siftune.runs.searching.config import SearchConfig
from siftune.runs.searching.objective import Objective, objective_of, plain_objective
from siftune.runs.searching.space import Value, override, space_of
from siftune.runs.searching.state import KIND, Rung, Search, Trial, continued, write_search

if TYPE_CHECKING:
    import optuna

DIGITS = 8
"""Of the fingerprint that names a search which has no name."""
Launch = Callable[[Sequence[Sequence[str]]], Sequence["Path | str"]]
"""Overrides of cells -> the folder of the record of each, or its error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Begun:
    """A search that is composed and found in order, and may have trials already."""

    cells: Cells
    objective: Objective
    search: Search
    folder: Path
    budget: float


def begin_search(settings: SearchConfig, overrides: Sequence[str], compose: Compose, groups: Iterable[str]) -> Begun:
    """Everything that can be refused before a trial runs; ConfigError."""
    space = space_of(overrides, settings.params)
    check_space(space, settings.rungs)
    cells = Cells(space, groups, lambda own: compose([*space.fixed, *own]))
    node = plain_node(cells.compose(next(cells.ends())))
    # The config of a plan has this key more.
    config = experiment_config({key: value for key, value in node.items() if key != "format"})
    check_rungs(settings.rungs, config.budget.amount, config.budget.unit)
    objective = objective_of(config.evaluate, settings.objective, settings.direction)
    search = _named(settings, config, objective, cells)
    folder = config.store.absolute() / KIND / search.name
    search = continued(folder, search)
    return Begun(cells=cells, objective=objective, search=search, folder=folder, budget=config.budget.amount)


class Searcher:
    """Makes the trials of a search that are still to make."""

    def __init__(self, begun: Begun, settings: SearchConfig, launch: Launch) -> None:
        self._begun, self._settings, self._launch = begun, settings, launch
        self._cells, self._search = begun.cells, begun.search
        self._steps: dict[int, list[list[str]]] = {}
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._study = _study(settings, begun.objective)
        self._trials = [self._again(trial) for trial in self._search.trials]

    def run(self) -> Search:
        """Until all trials have ended."""
        self._say_begin()
        while running := self._running():
            cells = [self._steps_of(trial)[len(trial.rungs)] for trial in running]
            fixed = self._cells.space.fixed
            for trial, cell, outcome in zip(
                running, cells, self._launch([[*fixed, *own] for own in cells]), strict=True
            ):
                self._take(trial, cell, outcome)
            self._write()
        return self._search

    def _running(self) -> list[Trial]:
        """The trials that run side by side next: those that are not done, and new ones."""
        running = [trial for trial in self._search.trials if trial.state == "running"][: self._settings.n_jobs]
        while len(running) < self._settings.n_jobs and len(self._search.trials) < self._settings.n_trials:
            running.append(self._propose())
        return running

    def _propose(self) -> Trial:
        number = len(self._search.trials)
        asked, params = self._ask(number)
        trial = Trial(number=number, params=params)
        self._trials.append(asked)
        self._search.trials.append(trial)
        self._write()
        return trial

    def _ask(self, number: int) -> tuple[optuna.Trial, dict[str, Value]]:
        # By the number alone, so that a search which was interrupted proposes what it would have proposed.
        self._study.sampler = _sampler(self._settings, self._settings.seed + number)
        asked = self._study.ask()
        chosen = {item.key: item.suggest(asked) for item in self._cells.choosing}
        own = {item.key: item.suggest(asked) for item in self._cells.applying(chosen)}
        return asked, chosen | own

    def _again(self, trial: Trial) -> optuna.Trial:
        """A trial of an earlier start, as Optuna is told of it."""
        self._study.enqueue_trial(dict(trial.params))
        asked, _ = self._ask(trial.number)
        for number, rung in enumerate(trial.rungs[: len(self._settings.rungs)]):
            asked.report(rung.value, self._step(number))
            # The pruner notes who came by.
            asked.should_prune()
        self._tell(trial, asked)
        return asked

    def _take(self, trial: Trial, cell: Sequence[str], outcome: Path | str) -> None:
        """What became of a trial's run."""
        if isinstance(outcome, str):
            trial.state, trial.error = "failed", outcome
        else:
            number, asked = len(trial.rungs), self._trials[trial.number]
            value = self._begun.objective.value(outcome)
            whole = number == len(self._settings.rungs)
            budget = self._begun.budget if whole else self._settings.rungs[number]
            store = self._begun.folder.parent.parent
            run = outcome.absolute().relative_to(store)
            trial.rungs.append(Rung(budget=budget, value=value, run=str(run), overrides=tuple(cell)))
            if whole:
                trial.state = "complete"
            else:
                asked.report(value, self._step(number))
                trial.state = "pruned" if asked.should_prune() else "running"
        self._tell(trial, self._trials[trial.number])
        self._say(trial)

    def _tell(self, trial: Trial, asked: optuna.Trial) -> None:
        from optuna.trial import TrialState

        if trial.state == "complete":
            self._study.tell(asked, trial.value)
        elif trial.state != "running":
            self._study.tell(asked, state=TrialState.PRUNED if trial.state == "pruned" else TrialState.FAIL)

    def _step(self, rung: int) -> int:
        """A rung as the pruners count: successive halving halves once a power of its factor."""
        return int(self._settings.reduction_factor**rung)

    def _steps_of(self, trial: Trial) -> list[list[str]]:
        return steps(self._settings.rungs, [override(key, value) for key, value in trial.params.items()])

    def _write(self) -> None:
        write_search(self._begun.folder, self._search)

    def _say_begin(self) -> None:
        search, goal = self._search, self._settings.n_trials
        rungs = ", ".join([*map(str, self._settings.rungs), f"{self._begun.budget:g}"])
        self._console.rule(f"[bold]search {search.name}", align="left")
        self._print(f"{search.direction} {search.objective} over {'  '.join(search.space)}")
        there = f", of which {len(search.trials)} are begun or done" if search.trials else ""
        self._print(f"{goal} trials{there}; budgets {rungs}")

    def _say(self, trial: Trial) -> None:
        what = f"trial {trial.number}"
        if trial.error is not None:
            self._print(f"{what} failed: {trial.error}")
            return
        reached = trial.rungs[-1]
        ends = {"running": "goes on", "pruned": "pruned", "complete": "complete", "failed": ""}[trial.state]
        best = self._search.best
        mark = " - the best so far" if best is trial else ""
        self._print(f"{what}, budget {reached.budget:g}: {self._search.objective} {reached.value:.5g}: {ends}{mark}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False)


def _named(settings: SearchConfig, config: ExperimentConfig, objective: Objective, cells: Cells) -> Search:
    """What makes it another search: not how many trials it has, nor how many run side by side."""
    kept = ("rungs", "pruner", "reduction_factor", "sampler", "startup_trials", "seed")
    identity = {
        "config": fingerprint(version=1, config=config, inputs={}),
        "space": [str(item) for item in cells.space.parameters],
        "objective": plain_objective(objective),
        **{name: getattr(settings, name) for name in kept},
        "rungs": list(settings.rungs),
    }
    name = settings.study_name or fingerprint(version=1, config=identity, inputs={})[:DIGITS]
    return Search(
        name=name,
        objective=objective.name,
        direction=objective.direction,
        space=identity["space"],
        fixed=list(cells.space.fixed),
        settings=identity,
    )


def _study(settings: SearchConfig, objective: Objective) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Of enqueueing trials, which every version since has.
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if settings.pruner == "halving":
        factor = settings.reduction_factor
        pruner: optuna.pruners.BasePruner = optuna.pruners.SuccessiveHalvingPruner(1, factor)
    else:
        pruner = optuna.pruners.MedianPruner(n_startup_trials=settings.startup_trials)
    return optuna.create_study(direction=objective.direction, pruner=pruner)


def _sampler(settings: SearchConfig, seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    if settings.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=settings.startup_trials)
