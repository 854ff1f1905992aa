"""`siftune runs`: the runs of a store, listed, compared, started again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from siftune.runs.build import ConfigError, build
from siftune.runs.listing.config import RELAUNCHED, RunsConfig
from siftune.runs.listing.stored_runs import Run, by_id, list_runs
from siftune.runs.listing.tables import print_differences, print_runs


def check_runs(node: Mapping[str, Any]) -> None:
    """Refuse a config with unknown keys, and a store that is not there."""
    config = _config(node)
    if not config.store.is_dir():
        raise ConfigError(f"store={config.store} is no folder: name the one that the runs were made in")


def runs(node: Mapping[str, Any]) -> Path | None:
    """List, compare or start again. Returns the folder of the record where one run was started again by its id."""
    config = _config(node)
    listed = _listed(config)
    if config.relaunch is not None:
        return _relaunch(config, listed)
    if config.compare:
        print_differences([by_id(listed, beginning) for beginning in config.compare], Console())
    elif config.format == "json":
        print(json.dumps([run.to_json() for run in listed], indent=1, ensure_ascii=False))
    elif listed:
        print_runs(listed, Console())
    else:
        Console(stderr=True).print(f"the store {config.store} has no such run", markup=False)
    return None


def _config(node: Mapping[str, Any]) -> RunsConfig:
    # Hydra reads the beginning of an id that has no letter as a number.
    ids: dict[str, Any] = {"compare": [str(item) for item in node.get("compare", ())]}
    if isinstance(node.get("relaunch"), int):
        ids["relaunch"] = str(node["relaunch"])
    config: RunsConfig = build(RunsConfig, {**node, **ids})
    return config


def _listed(config: RunsConfig) -> list[Run]:
    stderr = Console(stderr=True, highlight=False)

    def complain(text: str) -> None:
        stderr.print(text, style="yellow", markup=False, soft_wrap=True)

    if not config.finds_stale:
        return list_runs(config, complain, lambda attempt, record, store: None)
    from siftune.runs.commands import quiet_libraries
    from siftune.runs.staleness import why_stale

    quiet_libraries()
    return list_runs(config, complain, why_stale)


def _relaunch(config: RunsConfig, listed: list[Run]) -> Path | None:
    from siftune.runs.relaunch import print_commands, start_again, start_all_again

    assert config.relaunch is not None
    store = config.store.absolute()
    states = RELAUNCHED.get(config.relaunch)
    chosen = [by_id(listed, config.relaunch)] if states is None else [run for run in listed if run.state in states]
    if config.dry_run:
        print_commands(chosen, store, Console())
    elif states is None:
        return start_again(chosen[0], store)
    else:
        start_all_again(chosen, store, Console(stderr=True))
    if not chosen:
        Console(stderr=True).print(f"no run to start again: none is {' or '.join(states or ())}", markup=False)
    return None
