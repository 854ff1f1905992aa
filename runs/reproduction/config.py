"""The settings of `siftune reproduce`, and how its command line is read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hydra import initialize_config_module

from siftune.runs.build import ConfigError, build
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, compose_cell, parse, plain_node
from siftune.runs.reproduction.cells import require_free, scale_of

CONFIG_NAME = "reproduce"
FLAGS = {"--miniature": "miniature=true", "--dry-run": "dry_run=true", "--report-only": "report_only=true"}


@dataclass(frozen=True, kw_only=True)
class GPU:
    """What GPU hours are counted in."""

    name: str = "A100"
    """What it is called in the plan."""
    tflops: float = 312.0
    """Its peak in the precision of training, 1e12 operations a second (an A100's data sheet: bfloat16, dense)."""
    mfu: float = 0.4
    """Share of the peak that is reached (model FLOPs utilisation)."""

    def __post_init__(self) -> None:
        if self.tflops <= 0:
            raise ValueError(f"tflops={self.tflops} must be positive")
        if not 0 < self.mfu <= 1:
            raise ValueError(f"mfu={self.mfu} must lie between 0 and 1, e.g. 0.4")

    def hours(self, flops: float) -> float:
        """Hours of one GPU for so many operations."""
        return flops / (self.tflops * 1e12 * self.mfu) / 3600


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig:
    """What is done with the cells of a paper's table."""

    miniature: bool = False
    """The table in small (--miniature): scale=miniature, unless another scale=... is given, and the experiment's
    miniature grids. A scale=... alone means it too."""
    dry_run: bool = False
    """Only say what it takes, and print the commands that it stands for (--dry-run)."""
    report_only: bool = False
    """Only report the cells that are done (--report-only)."""
    output: Path | None = None
    """Folder of the report; null: <store>/reproductions/<name>, with -<scale> where there is one."""
    gpu: GPU = field(default_factory=GPU)
    """What GPU hours are counted in: FLOPs / (tflops x mfu)."""

    def __post_init__(self) -> None:
        if self.dry_run and self.report_only:
            raise ValueError("dry_run and report_only: one of them")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was typed."""

    name: str | None
    """The experiment; None: all are listed."""
    settings: ReproduceConfig
    scale: str | None
    """Option of the group `scale`; None: the whole table."""
    overrides: tuple[str, ...]
    """For the cells."""
    config_dir: str | None
    """A folder of YAMLs of the user's own."""
    help: bool


def read_request(arguments: Sequence[str]) -> Request:
    """The command line; ConfigError for what it cannot be."""
    from hydra._internal.utils import get_args_parser

    words = [FLAGS.get(word, word) for word in arguments]
    name = words.pop(0) if words and not words[0].startswith("-") and "=" not in words[0] else None
    args = get_args_parser().parse_intermixed_args(words)
    if args.cfg or args.info or args.hydra_help:
        raise ConfigError(f"--cfg and --info are of a cell: siftune run experiment={name or 'NAME'} --cfg job")
    config_dir = os.path.abspath(args.config_dir) if args.config_dir else None
    own, overrides = _divided(args.overrides)
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        settings: ReproduceConfig = build(ReproduceConfig, _node(own))
    require_free(overrides)
    return Request(
        name=name,
        settings=settings,
        scale=scale_of(overrides, settings.miniature),
        overrides=tuple(overrides),
        config_dir=config_dir,
        help=args.help,
    )


def _divided(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of this command, and those of the cells."""
    names = {own.name for own in fields(ReproduceConfig)}
    mine = [override for override in overrides if parse([override])[0].key_or_group.split(".")[0] in names]
    return mine, [override for override in overrides if override not in mine]


def _node(overrides: Sequence[str]) -> Mapping[str, Any]:
    swept = [override.input_line for override in parse(overrides) if override.is_sweep_override()]
    if swept:
        raise ConfigError(f"{swept[0]}: a setting of the command, which has one value")
    return plain_node(compose_cell(CONFIG_NAME, overrides, None))
