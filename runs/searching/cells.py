"""The cells of a search before they are run: which settings a trial's options have, and whether its ends compose."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from siftune.runs.build import ConfigError
from siftune.runs.searching.space import Parameter, Space, Value, override

BUDGET = "budget.amount"
"""What the rungs of a search are values of."""
MANY = 64
"""Combinations of options of which so many are checked before the search starts."""
Compose = Callable[[Sequence[str]], DictConfig]
"""Overrides of a cell, beside the fixed ones -> its config."""


@dataclass
class Cells:
    """Composes trials."""

    space: Space
    groups: Iterable[str]
    """All config groups."""
    compose: Compose
    _applying: dict[tuple[str, ...], list[Parameter]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.choosing, self.settings = self.space.split(self.groups)

    def applying(self, chosen: Mapping[str, Value]) -> list[Parameter]:
        """The settings that there are under these options: random has no selection.num_clusters."""
        key = tuple(override(name, value) for name, value in chosen.items())
        if key not in self._applying:
            config = self.compose(key)
            self._applying[key] = [item for item in self.settings if _has(config, item.key)]
        return self._applying[key]

    def ends(self) -> Iterator[list[str]]:
        """Overrides of the cells with every setting at its one end, and at its other, under every choice of options."""
        unused = {item.key for item in self.settings}
        for values in itertools.islice(itertools.product(*(item.values for item in self.choosing)), MANY):
            chosen = {item.key: value for item, value in zip(self.choosing, values, strict=True)}
            applying = self.applying(chosen)
            unused -= {item.key for item in applying}
            for end in (0, 1) if applying else (0,):
                own = {item.key: item.ends[end] for item in applying}
                yield [override(key, value) for key, value in (chosen | own).items()]
        for item in self.settings:
            if item.key in unused:
                # No option has it: composing it says what is wrong.
                yield [override(item.key, item.ends[0])]


def all_groups() -> list[str]:
    """The config groups, where Hydra is initialised."""
    return [str(name) for name in GlobalHydra.instance().config_loader().list_groups("")]


def check_space(space: Space, rungs: Sequence[int]) -> None:
    """Refuse what no search could vary."""
    if not space.parameters:
        raise ConfigError(
            "a search varies something: add choices, ranges or intervals, as "
            "'selection.num_clusters=choice(8,16)' 'finetune.learning_rate=tag(log,interval(1e-4,1e-3))'"
        )
    for item in space.parameters:
        if item.key.startswith("evaluate"):
            raise ConfigError(f"{item}: trials measured on different suites do not compare; leave evaluate as it is")
        if rungs and (item.key == BUDGET or item.key == "budget"):
            raise ConfigError(f"{item}: the rungs {list(rungs)} are budgets already; vary the budget, or have rungs")


def check_rungs(rungs: Sequence[int], budget: float, unit: str) -> None:
    """Refuse rungs that are no smaller budgets."""
    if rungs and unit == "fraction":
        raise ConfigError("hydra.sweeper.rungs are whole numbers: of rows (budget=examples) or of tokens")
    if rungs and rungs[-1] >= budget:
        raise ConfigError(f"hydra.sweeper.rungs={list(rungs)} must be below {BUDGET}={budget:g}, on which a trial ends")


def steps(rungs: Sequence[int], own: Sequence[str]) -> list[list[str]]:
    """The overrides of a trial's runs, one a rung and the whole budget."""
    return [*([*own, f"{BUDGET}={rung}"] for rung in rungs), list(own)]


def _has(config: DictConfig, key: str) -> bool:
    """Whether a cell has this setting. A key with a plus is added, wherever it belongs."""
    if key.startswith("+"):
        return True
    node: Any = config
    for part in key.split("."):
        if not OmegaConf.is_dict(node) or part not in node:
            return False
        node = node._get_node(part)
    return True
