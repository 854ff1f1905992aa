"""`siftune export sweep=wandb`: a sweep of `siftune run`, written as the file that `wandb sweep` takes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import yaml
from hydra import initialize_config_module
from rich.console import Console

from siftune.runs.build import ConfigError, build
from siftune.runs.commands import check_run
from siftune.runs.config import experiment_config
from siftune.runs.dry_run import FLAG
from siftune.runs.explain import print_help
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, checked_cell, compose_cell, parse, plain_node
from siftune.runs.searching.cells import Cells, all_groups, check_space
from siftune.runs.searching.objective import objective_of
from siftune.runs.searching.space import Choice, Interval, Parameter, Space, Value, space_of
from siftune.runs.tracking import HEADLINE_METRIC
from siftune.selection.files import write_whole

CONFIG_NAME = "export_sweep"


@dataclass(frozen=True, kw_only=True)
class SweepExportConfig:
    """The sweep's file, and what W&B searches by."""

    sweep: Literal["wandb"]
    """Who runs it."""
    output: Path = Path("sweep.yaml")
    """The file to write."""
    method: Literal["grid", "random", "bayes"] | None = None
    """How W&B proposes; null: grid where all that is varied are choices and ranges, else bayes."""
    objective: str | None = None
    """A task of the suite whose score is searched for; null: the headline."""
    direction: Literal["maximize", "minimize"] | None = None
    """null: as the tasks say."""
    runs: int | None = None
    """Runs at the most; null: as many as a grid has, and else until the sweep is stopped."""
    overwrite: bool = False
    """Whether a file of that name is replaced."""


def export_sweep(arguments: Sequence[str]) -> None:
    """Check what the sweep would start, and write its file; ValueError for what is wrong."""
    from hydra._internal.utils import get_args_parser

    dry = FLAG in arguments
    args = get_args_parser().parse_intermixed_args([word for word in arguments if word != FLAG])
    config_dir = os.path.abspath(args.config_dir) if args.config_dir else None
    names = {field.name for field in fields(SweepExportConfig)}
    own = [override for override in args.overrides if parse([override])[0].key_or_group in names]
    if args.help:
        print_help(CONFIG_NAME, SweepExportConfig, own, None)
        return
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        settings: SweepExportConfig = build(SweepExportConfig, plain_node(compose_cell(CONFIG_NAME, own, None)))
        if settings.output.exists() and not settings.overwrite and not dry:
            raise ConfigError(f"output={settings.output} is there already: name another, or add overwrite=true")
        content = sweep_of(settings, [word for word in args.overrides if word not in own], config_dir)
    text = yaml.safe_dump(content, sort_keys=False, width=120)
    if dry:
        print(text, end="")
        return
    write_whole(settings.output, f"# Made by: {shlex.join(['siftune', 'export', *arguments])}\n{text}")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"written: {settings.output}. Next: wandb sweep {settings.output}, and wandb agent", markup=False)


def sweep_of(settings: SweepExportConfig, overrides: Sequence[str], config_dir: str | None) -> dict[str, Any]:
    """What `wandb sweep` reads. To be called inside `initialize_config_module`."""
    base = compose_cell("run", overrides, config_dir)
    typed = [item for item in overrides if not item.startswith("hydra")]
    space = space_of(typed, base.hydra.sweeper.get("params"))
    check_space(space, ())
    node = _checked(space, config_dir)
    config = experiment_config(node)
    objective = objective_of(config.evaluate, settings.objective, settings.direction)
    metric = f"eval/{settings.objective}" if settings.objective else HEADLINE_METRIC
    # An agent's run is W&B's before it starts.
    fixed = [item for item in space.fixed if not item.startswith(("tracking=", "tracking.mode="))]
    directory = ["--config-dir", config_dir] if config_dir else []
    project = {"project": config.tracking.project, "entity": config.tracking.entity}
    return {
        **{key: value for key, value in {"name": config.group, **project}.items() if value is not None},
        "program": "siftune",
        "command": ["${program}", "run", *directory, *fixed, "tracking=online", "hydra.mode=RUN", "${args_no_hyphens}"],
        "method": _method(settings, space),
        "metric": {"name": metric, "goal": objective.direction},
        **({} if settings.runs is None else {"run_cap": settings.runs}),
        "parameters": {item.key: _parameter(item) for item in space.parameters},
    }


def _checked(space: Space, config_dir: str | None) -> Mapping[str, Any]:
    """Compose and check what W&B may propose; the config of the first."""
    cells = Cells(space, all_groups(), lambda own: compose_cell("run", [*space.fixed, *own], config_dir))
    keys = {item.key for item in space.parameters}
    nodes = []
    for own in cells.ends():
        missing = keys - {override.partition("=")[0] for override in own}
        if missing:
            raise ConfigError(
                f"{', '.join(sorted(missing))} cannot be varied together with {' '.join(own)}, which has no such "
                "setting, and W&B proposes every parameter in every run: make two sweeps of it, or use "
                "hydra/sweeper=search, which leaves such a setting out"
            )
        nodes.append(checked_cell(cells.compose(own), check_run))
    return nodes[0]


def _method(settings: SweepExportConfig, space: Space) -> str:
    discrete = all(isinstance(item, Choice) or item.step is not None for item in space.parameters)
    if settings.method == "grid" and not discrete:
        raise ConfigError("method=grid needs choices or ranges; an interval has no end: method=bayes or random")
    return settings.method or ("grid" if discrete else "bayes")


def _parameter(item: Parameter) -> dict[str, Any]:
    """In W&B's words."""
    if isinstance(item, Choice):
        return {"values": [_value(value) for value in item.values]}
    if item.step is not None:
        count = round((item.high - item.low) / item.step) + 1
        return {"values": [item.low + place * item.step for place in range(count)]}
    return {"distribution": _distribution(item), "min": item.low, "max": item.high} | (
        {"q": 1} if item.whole and item.log else {}
    )


def _distribution(item: Interval) -> str:
    if item.log:
        return "q_log_uniform_values" if item.whole else "log_uniform_values"
    return "int_uniform" if item.whole else "uniform"


def _value(value: Value) -> Value:
    """An agent writes a value as Python does, which for None is not Hydra's word."""
    return "null" if value is None else value
