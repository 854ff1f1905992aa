"""The typed config of a search: `hydra.sweeper` under `hydra/sweeper=search`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from siftune.runs.build import TARGET, build

SWEEPER = "hydra_plugins.siftune_search.SearchSweeper"
"""The name that Hydra knows the sweeper by: it takes plugins of this namespace alone."""
PLUGIN = "OptunaSweeper"
"""The sweeper of hydra-optuna-sweeper, as it is (`hydra/sweeper=optuna`)."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How many trials, of what, judged how."""

    n_trials: int = 20
    """Trials of the whole search, those that an earlier start has made included."""
    n_jobs: int = 1
    """Trials side by side; it takes a launcher that runs cells side by side (hydra/launcher=parallel)."""
    study_name: str | None = None
    """Name of the search, and of its folder search/<name> in the store; null: made from what is searched, so that the
    same command goes on where it was killed."""
    objective: str | tuple[str, ...] | None = None
    """A task of the suite, or several whose mean counts; null: the suite's headline."""
    direction: Literal["maximize", "minimize"] | None = None
    """null: as the tasks say (losses are minimised)."""
    rungs: tuple[int, ...] = ()
    """Smaller budgets, rising, below budget.amount: a trial trains on these first, and goes on while the pruner lets
    it. Each is an ordinary run. Empty: every trial has the whole budget."""
    pruner: Literal["halving", "median"] = "halving"
    """Who goes on from a rung: the best 1/reduction_factor of those that came to it so far (successive halving, Li et
    al. 2018, arXiv 1810.05934), or those not worse than the median of the finished trials at that rung."""
    reduction_factor: int = 2
    """Of successive halving: one in so many goes on."""
    sampler: Literal["tpe", "random"] = "tpe"
    """Who proposes: a model of the good and the bad trials (tree-structured Parzen estimators), or chance."""
    startup_trials: int = 10
    """Trials drawn by chance before the model proposes, and before the median prunes (Optuna's default is 10)."""
    seed: int = 0
    """Of the proposals; the runs have the config's seed."""
    params: Mapping[str, str] | None = None
    """key -> what it is varied over, as on the command line; overrides that are typed replace these."""

    def __post_init__(self) -> None:
        for name, least in {"n_trials": 1, "n_jobs": 1, "reduction_factor": 2, "startup_trials": 0, "seed": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")
        if any(rung < 1 for rung in self.rungs) or list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs={list(self.rungs)} must rise, from 1 or more")
        if self.study_name is not None and (not self.study_name or "/" in self.study_name or self.study_name[0] == "."):
            raise ValueError(f"study_name={self.study_name!r} is the name of a folder: without a / and a leading dot")


def search_config(sweeper: Mapping[str, Any]) -> SearchConfig:
    """From `hydra.sweeper`; ConfigError names the key."""
    config: SearchConfig = build(SearchConfig, {key: sweeper[key] for key in sweeper if key != TARGET}, "hydra.sweeper")
    return config
