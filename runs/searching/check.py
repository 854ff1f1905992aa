"""A search is refused before its first trial: every choice of options is composed and checked at both ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from siftune.runs.build import ConfigError
from siftune.runs.search import begin_search
from siftune.runs.searching.cells import Compose, all_groups, steps
from siftune.runs.searching.config import PLUGIN, SWEEPER, SearchConfig, search_config

SEARCHING = ("run", "plan")
"""Commands whose cells have scores."""


def is_search(sweeper: Mapping[str, Any]) -> bool:
    """Whether `hydra.sweeper` is siftune's search, or the plugin that it is made beside."""
    return str(sweeper["_target_"]).endswith((SWEEPER, PLUGIN))


def check_search(
    base: DictConfig,
    config_name: str,
    overrides: Sequence[str],
    compose: Compose,
    check: Callable[[DictConfig], dict[str, Any]],
) -> list[dict[str, Any]]:
    """ConfigError for the first cell refused. Returns the configs of a trial that goes to its end, rung by rung.

    To be called inside `initialize_config_module`. check: checks a cell, and returns its plain config."""
    if config_name not in SEARCHING:
        raise ConfigError("a search goes by the scores of its trials: it is for siftune run")
    settings = settings_of(base)
    begun = begin_search(settings, overrides, compose, all_groups())
    ends = list(begun.cells.ends())
    for own in ends:
        check(begun.cells.compose(own))
    search, console = begun.search, Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(
        f"search {search.name}: {search.direction} {search.objective}, {settings.n_trials} trials at the most, "
        f"{len(search.trials)} of them begun or done; the plan is that of one trial which goes to its end",
        markup=False,
    )
    return [check(begun.cells.compose(cell)) for cell in steps(settings.rungs, ends[0])]


def settings_of(base: DictConfig) -> SearchConfig:
    """The settings of the search; of the plugin's own, those that it has too."""
    if find_spec("optuna") is None:
        raise ConfigError("a search needs Optuna: pip install 'siftune[optuna]'")
    sweeper = OmegaConf.to_container(base.hydra.sweeper, resolve=True)
    assert isinstance(sweeper, dict)
    named = {str(key): value for key, value in sweeper.items()}
    if str(named["_target_"]).endswith(SWEEPER):
        return search_config(named)
    if isinstance(named["direction"], list):
        raise ConfigError("hydra.sweeper.direction: a run has one objective, so name one direction")
    direction = getattr(named["direction"], "name", named["direction"])
    return SearchConfig(n_trials=named["n_trials"], direction=direction, params=named["params"])
