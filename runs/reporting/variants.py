"""Telling apart runs of one label: an ablation's cells must never be averaged as if they were seeds of one another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from siftune.runs.reporting.records import RunRecord

IRRELEVANT = frozenset(
    {
        "seed",
        "store",
        "label",
        "group",
        "tracking",
        "paper",
        "name",
        "path",
        "data_dir",
        "batch_size",
        "tokens_per_batch",
        "device",
        "workers",
    }
)
"""Keys of a config that make no other experiment: seeds are averaged, the rest says where and how it was computed."""
OF_THE_BASE = ("model", "evaluate")
"""What of a config matters to a model that is not trained."""
FEW = 2
"""As many differences of one config group are spelled out; more are numbered."""


def split(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Runs of one label -> name -> the runs that differ in nothing but the seed. With one config the name is the label;
    else the differences are added to it: `random (epochs=3)`."""
    configs = [leaves(run) for run in runs]
    paths = sorted({path for config in configs for path in config})
    differing = [path for path in paths if len({config.get(path) for config in configs}) > 1]
    variants: dict[tuple[str | None, ...], list[RunRecord]] = {}
    for run, config in zip(runs, configs, strict=True):
        variants.setdefault(tuple(config.get(path) for path in differing), []).append(run)
    named: dict[str, list[RunRecord]] = {}
    for number, (values, members) in enumerate(variants.items(), start=1):
        name = _name(members[0], dict(zip(differing, values, strict=True)), number)
        named[name if name not in named else f"{name} #{number}"] = members
    return named


def _name(run: RunRecord, values: Mapping[str, str | None], number: int) -> str:
    groups: dict[str, dict[str, str | None]] = {}
    for path, value in values.items():
        groups.setdefault(path.split(".")[0], {})[path] = value
    parts = [part for group, changes in groups.items() for part in _describe(run, group, changes, number)]
    return f"{run.label} ({', '.join(parts)})" if parts else run.label


def _describe(run: RunRecord, group: str, changes: Mapping[str, str | None], number: int) -> list[str]:
    if group == "target":
        return [f"target={'+'.join(run.targets) or 'none'}"]
    if len(changes) > FEW:
        return [f"{group} {number}"]
    return [
        f"{path.split('.')[-1]}={'none' if value is None else value.strip(chr(34))}" for path, value in changes.items()
    ]


def leaves(run: RunRecord) -> dict[str, str]:
    groups = {key: value for key, value in run.config.items() if not run.is_base or key in OF_THE_BASE}
    return dict(_flatten(groups, ""))


def _flatten(value: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    found = []
    for key, item in value.items():
        if key in IRRELEVANT:
            continue
        if isinstance(item, Mapping):
            found += _flatten(item, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", json.dumps(item, sort_keys=True)))
    return found
