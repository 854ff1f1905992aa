"""Before anything is computed, every cell of a command is composed and checked: a mistake in the last costs nothing."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from siftune.runs.build import TARGET, ConfigError, resolve, unknown
from siftune.runs.launchers import check_launcher, explain_missing

CONFIG_MODULE = "siftune.conf"
VERSION_BASE = "1.3"
BASIC_SWEEPER = "BasicSweeper"

_NOT_A_KEY = re.compile(r"Could not override '(?P<key>[^']+)'")
_NOT_AN_OPTION = re.compile(r"Could not (find|load) '(?P<group>[^']+)/(?P<option>[^'/]+)'")


def check_command(
    config_name: str,
    overrides: Sequence[str],
    multirun: bool,
    config_dir: str | None,
    check: Callable[[Mapping[str, Any]], None],
) -> list[dict[str, Any]]:
    """Compose every cell that the command would run and call `check` on it; ConfigError for the first one refused.

    Returns the cells' configs: of a search, those of one trial; none for a sweeper that siftune does not know.
    """
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        base = compose_cell(config_name, overrides, config_dir)
        if not (multirun or base.hydra.mode == RunMode.MULTIRUN):
            return [checked_cell(base, check)]
        check_launcher(base)
        if not str(base.hydra.sweeper._target_).endswith(BASIC_SWEEPER):
            return _searched(base, config_name, overrides, config_dir, check)
        params = [f"{key}={value}" for key, value in (base.hydra.sweeper.params or {}).items()]
        cells = cells_of([*parse(params), *parse(overrides)])
        return [checked_cell(compose_cell(config_name, cell, config_dir), check) for cell in cells]


def compose_cell(config_name: str, overrides: Sequence[str], config_dir: str | None) -> DictConfig:
    """The config of one run, Hydra's own part included, without the overrides that sweep.

    To be called inside `initialize_config_module`. ConfigError where it does not compose.
    """
    searchpath = [f"hydra.searchpath=[file://{config_dir}]"] if config_dir else []
    fixed = [item.input_line or "" for item in parse(overrides) if not item.is_sweep_override()]
    try:
        return compose(config_name, overrides=[*searchpath, *fixed], return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, config_name, fixed)) from error


def plain_node(config: DictConfig) -> dict[str, Any]:
    """The composed config as plain containers, interpolations resolved, Hydra's own part left out."""
    content = {key: value for key, value in config.items_ex(resolve=False) if key != "hydra"}
    bare = OmegaConf.create({str(key): value for key, value in content.items()})
    try:
        node = OmegaConf.to_container(bare, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error)) from error
    assert isinstance(node, dict)
    return {str(key): value for key, value in node.items()}


def checked_cell(config: DictConfig, check: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """The plain config of a cell; what `check` raises where it refuses it."""
    HydraConfig.instance().set_config(config)
    node = plain_node(config)
    check(node)
    return node


def _searched(
    base: DictConfig,
    config_name: str,
    overrides: Sequence[str],
    config_dir: str | None,
    check: Callable[[Mapping[str, Any]], None],
) -> list[dict[str, Any]]:
    from siftune.runs.searching.check import check_search, is_search

    if not is_search(base.hydra.sweeper):
        return []

    def compose_own(cell: Sequence[str]) -> DictConfig:
        return compose_cell(config_name, cell, config_dir)

    return check_search(base, config_name, overrides, compose_own, lambda cell: checked_cell(cell, check))


def cells_of(parsed: Sequence[Override]) -> list[list[str]]:
    """The overrides of each cell of a sweep by Hydra's own sweeper."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    (cells,) = BasicSweeper.split_arguments(list(parsed), max_batch_size=None)
    return cells


def parse(overrides: Sequence[str]) -> list[Override]:
    """Overrides as typed, taken apart; ConfigError for one that is none."""
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError(str(error)) from error


def _explain(error: Exception, config_name: str, overrides: Sequence[str]) -> str:
    message = str(error)
    key = _NOT_A_KEY.search(message)
    if key:
        return _explain_key(key["key"], config_name, overrides)
    option = _NOT_AN_OPTION.search(message)
    if option:
        group, name = option["group"], option["option"]
        missing = explain_missing(name, group)
        return missing or unknown(f"{group}={name}", name, group_options(group), f"option of the group {group}")
    return message if error.__cause__ is None else f"{message}\n{error.__cause__}"


def _explain_key(key: str, config_name: str, overrides: Sequence[str]) -> str:
    """Name the nearest allowed key, at the depth where the key goes wrong, under the chosen options of the groups."""
    groups = GlobalHydra.instance().config_loader().list_groups("")
    node: Any = compose(config_name, overrides=[item for item in overrides if item.partition("=")[0] in groups])
    above = ""
    for part in key.split("."):
        if not OmegaConf.is_dict(node) or part not in node:
            allowed = [str(name) for name in node] if OmegaConf.is_dict(node) else []
            if above and OmegaConf.is_dict(node) and (not allowed or part in _settings(node, above)):
                return f"{above} has no entry {part} yet: a new one is added with a plus, +{key}=VALUE"
            return unknown(key, part, allowed, f"key in {above or 'the config'}")
        node, above = node._get_node(part), f"{above}.{part}".lstrip(".")
    return f"{key} holds no such entry yet: a new one is added with a plus, +{key}.NAME=VALUE"


def _settings(node: Any, key: str) -> set[str]:
    """What the class of a part of the config may be given, whether its YAML names it or not."""
    return {field.name for field in dataclasses.fields(resolve(node[TARGET], key))} if TARGET in node else set()


def group_options(group: str) -> list[str]:
    """The options of a config group, inside `initialize_config_module`."""
    return GlobalHydra.instance().config_loader().get_group_options(group)
