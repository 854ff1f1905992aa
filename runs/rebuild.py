"""From a recorded config back to the command that makes the same again.

The nearest option of every group is chosen, then the keys that still differ are set. Whether the command composes to
the recorded config is found out, not assumed.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import Any, Literal

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from siftune.runs.config import ExperimentConfig, SelectConfig, experiment_config, select_config
from siftune.runs.fingerprint import plain
from siftune.runs.options_nearest import class_paths, nearest_option, place_of
from siftune.runs.overrides import changes, differences
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node

Command = Literal["select", "run"]

LEFT_OUT = frozenset({"store", "group", "label", "tracking", "runtime", "check_resources", "output", "format"})
"""Where and under which name it was made: no part of what the command makes."""
FIRST = ("pool", "model", "selection")
"""Groups that others follow, settled one after another before the rest."""


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """The command, and whether it is known to do what was recorded."""

    command: Command
    overrides: tuple[str, ...]
    config: SelectConfig | ExperimentConfig | None
    """What it composes to; None where it does not compose."""
    differs: tuple[str, ...]
    """Keys in which that differs from what was recorded, or the error; empty: none."""

    @property
    def text(self) -> str:
        """As typed into a shell."""
        return shlex.join(["siftune", self.command, *self.overrides])


def rebuild(recorded: Mapping[str, Any], command: Command) -> Rebuilt:
    """The command for a recorded config (that of a run also gives the `select` of its subset)."""
    wanted = _wanted(recorded, command)
    running = GlobalHydra.instance().is_initialized()
    with nullcontext() if running else initialize_config_module(CONFIG_MODULE, version_base=VERSION_BASE):
        overrides: list[str] = []
        try:
            overrides, composed = _choose_options(wanted, command)
            if changed := changes(plain_node(composed), wanted, class_paths()):
                overrides += changed
                composed = _composed(command, overrides)
            typed = _typed(command, composed)
            # What no YAML names, and differs from the default.
            if missing := [f"+{key}={spelt}" for key, spelt in differences(plain(typed), wanted).items()]:
                overrides += missing
                typed = _typed(command, _composed(command, overrides))
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            return Rebuilt(command=command, overrides=tuple(overrides), config=None, differs=(str(error),))
    left = tuple(differences(plain(typed), wanted))
    return Rebuilt(command=command, overrides=tuple(overrides), config=typed, differs=left)


def _wanted(recorded: Mapping[str, Any], command: Command) -> dict[str, Any]:
    known = {field.name for field in fields(SelectConfig if command == "select" else ExperimentConfig)}
    wanted = {key: value for key, value in recorded.items() if key in known - LEFT_OUT}
    if command == "select" and wanted.get("decontaminate") is None:
        # The suite is then nothing to the picks.
        wanted["evaluate"] = None
    return wanted


def _composed(command: Command, overrides: Sequence[str]) -> DictConfig:
    return compose(command, overrides=list(overrides), return_hydra_config=True)


def _typed(command: Command, composed: DictConfig) -> SelectConfig | ExperimentConfig:
    node = plain_node(composed)
    return select_config(node) if command == "select" else experiment_config(node)


def _choose_options(wanted: Mapping[str, Any], command: Command) -> tuple[list[str], DictConfig]:
    """One override for each group whose default is not the nearest option, and what they compose to; groups inside an
    option follow it."""
    overrides: list[str] = []
    settled: set[str] = set()
    composed = _composed(command, overrides)
    choices = _choices(composed, wanted)
    while open_keys := [key for key in choices if key not in settled]:
        before = len(overrides)
        first = [key for key in FIRST if key in open_keys]
        for key in first[:1] or open_keys:
            settled.add(key)
            overrides += _chosen(key, choices[key], _at(wanted, place_of(key)))
        if len(overrides) > before:
            composed = _composed(command, overrides)
            choices = _choices(composed, wanted)
    return overrides, composed


def _choices(config: DictConfig, wanted: Mapping[str, Any]) -> dict[str, str | None]:
    """group@place -> option, of the groups whose place was recorded; `+` before those that are to be added."""
    choices = {str(key): option for key, option in config.hydra.runtime.choices.items()}
    found = {key: option for key, option in choices.items() if place_of(key).partition(".")[0] in wanted}
    scorers = wanted.get("scorers") or {}
    added = {f"+scorer@scorers.{name}": None for name in scorers if f"scorer@scorers.{name}" not in found}
    # A pool that brings no target has none.
    return {"target": "none"} | found | ({} if any(key.lstrip("+") in choices for key in added) else added)


def _chosen(key: str, current: str | None, value: Any) -> Iterator[str]:
    group = key.lstrip("+").partition("@")[0]
    options = GlobalHydra.instance().config_loader().get_group_options(group)
    if current is not None and current not in options:
        # An optional group that follows another one, and has no such option.
        current = "none"
    option = nearest_option(group, options, current, value)
    if option is not None and option != current:
        yield f"{key}={option}"


def _at(wanted: Mapping[str, Any], place: str) -> Any:
    value: Any = wanted
    for part in place.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
