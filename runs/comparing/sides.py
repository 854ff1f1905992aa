"""Which runs `siftune compare` compares: what a and b name, and which run of one meets which of the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siftune.runs.build import unknown
from siftune.runs.reporting.records import RECORD, ReportError, RunRecord, choose, read_run
from siftune.runs.reporting.rows import latest
from siftune.runs.reporting.variants import split

_FINGERPRINT = re.compile(r"[0-9a-f]{6,16}")
SHOWN = 6
"""So many names are listed in a refusal."""
COMPUTED = ("task", "data", "data_files", "limit")
"""Settings of a task that documents and prompts tell more of than they do themselves."""


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: the runs of one experiment, one a seed."""

    name: str
    runs: tuple[RunRecord, ...]


@dataclass(frozen=True)
class Pair:
    """Two runs whose answers are compared question by question."""

    a: RunRecord
    b: RunRecord


def find_side(key: str, asked: str, runs: Sequence[RunRecord], group: str | None, seeds: Sequence[int]) -> Side:
    """The runs that `asked` names; ReportError, with the key, where there are none or those of several experiments."""
    if (Path(asked) / RECORD).is_file():
        run = read_run(Path(asked))
        return Side(run.label, (run,))
    name, found = _named(key, asked, runs, choose(runs, group, ()))
    kept = tuple(run for run in latest(found) if not seeds or run.seed in seeds)
    if not kept:
        has = ", ".join(str(run.seed) for run in latest(found))
        raise ReportError(f"{key}={asked} has no run of seeds={list(seeds)}: it has the seeds {has}")
    return Side(name, kept)


def pair_up(a: Side, b: Side) -> tuple[Pair, ...]:
    """Seed by seed. The base model is not trained: one run of it meets every seed, as one run meets another's one."""
    bases = [side for side in (a, b) if len(side.runs) == 1 and side.runs[0].is_base]
    if bases or len(a.runs) == len(b.runs) == 1:
        pairs = tuple(Pair(one, other) for one in a.runs for other in b.runs)
    else:
        by_seed = {run.seed: run for run in b.runs}
        pairs = tuple(Pair(run, by_seed[run.seed]) for run in a.runs if run.seed in by_seed)
    if not pairs:
        seeds = [", ".join(str(run.seed) for run in side.runs) for side in (a, b)]
        raise ReportError(
            f"{a.name} (seeds {seeds[0]}) and {b.name} (seeds {seeds[1]}) have no seed in common: name one run of each "
            "by its fingerprint"
        )
    if all(pair.a.folder.resolve() == pair.b.folder.resolve() for pair in pairs):
        raise ReportError(f"a and b are the same run: {pairs[0].a.folder}")
    return pairs


def common_tasks(pairs: Sequence[Pair], wanted: Sequence[str]) -> tuple[str, ...]:
    """The tasks to be compared, in the suite's order; ReportError naming what differs between the runs."""
    runs = [run for pair in pairs for run in (pair.a, pair.b)]
    first = runs[0]
    for run in runs:
        if run.evaluation is None:
            raise ReportError(f"{called(run)} was not evaluated (evaluate=none): there are no answers to compare")
    for name in wanted:
        if not any(name in run.scores for run in runs):
            known = {task for run in runs for task in run.scores}
            raise ReportError(unknown(f"tasks={name}", name, known, "task in these runs"))
    names = tuple(name for name in first.scores if not wanted or name in wanted)
    for run in runs[1:]:
        differing = sorted(({*first.scores} ^ {*run.scores}) & ({*wanted} or {*first.scores, *run.scores}))
        if differing:
            raise ReportError(_other_tasks(first, run, differing))
        for name in names:
            if differences := _differences(first, run, name):
                raise ReportError(
                    f"{called(first)} and {called(run)} were not asked the same: {'; '.join(differences)}. "
                    f"Compare runs of one suite, or leave the task out: {_other_than(names, [name])}"
                )
    return names


def called(run: RunRecord) -> str:
    """A run, as messages name it."""
    return f"{run.label} (seed {run.seed}, {run.fingerprint})"


def _named(
    key: str, asked: str, runs: Sequence[RunRecord], chosen: Sequence[RunRecord]
) -> tuple[str, Sequence[RunRecord]]:
    if not runs:
        raise ReportError(f"{key}={asked}: the store has no finished run. Name another with store=, or a run's folder")
    exact = [run for run in runs if run.folder.name == asked]
    if not exact and _FINGERPRINT.fullmatch(asked):
        exact = [run for run in runs if run.fingerprint.startswith(asked)]
    if len(exact) == 1:
        return exact[0].label, exact
    variants = _variants(chosen)
    if asked in variants:
        return asked, variants[asked]
    matching = [run for run in chosen if asked in (run.label, run.group, f"{run.group}/{run.label}")]
    found = _variants(exact or matching)
    if len(found) == 1:
        return next(iter(found.items()))
    if found:
        known = [f"{name} ({members[-1].group}, {members[-1].fingerprint})" for name, members in found.items()]
        raise ReportError(
            f"{key}={asked} names the runs of {len(found)} experiments: {_listed(known)}. "
            f"Add group=, or name one by GROUP/LABEL or by a fingerprint"
        )
    names = {*variants, *(f"{run.group}/{run.label}" for run in chosen if run.group and "/" in asked)}
    raise ReportError(unknown(f"{key}={asked}", asked, names, "label, group, fingerprint or folder of a run"))


def _variants(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    labels = dict.fromkeys(run.label for run in runs)
    return {name: found for label in labels for name, found in split([r for r in runs if r.label == label]).items()}


def _other_tasks(first: RunRecord, run: RunRecord, differing: Sequence[str]) -> str:
    parts = []
    for has, lacks in ((first, run), (run, first)):
        only = [name for name in differing if name in has.scores]
        if only:
            parts.append(f"{called(has)} has {_listed(only)}, which {called(lacks)} has not")
    both = [name for name in first.scores if name in run.scores]
    remedy = f"tasks=[{','.join(both)}] compares what both have" if both else "they have no task in common"
    return f"the tasks differ: {'; '.join(parts)}. {remedy}"


def _differences(first: RunRecord, run: RunRecord, task: str) -> list[str]:
    """Settings of a task that are not the same, in words."""
    ours, theirs = (_settings(item, task) for item in (first, run))
    keys = dict.fromkeys((*ours, *theirs))
    return [
        f"evaluate.tasks.{task}.{key} is {ours.get(key)} and {theirs.get(key)}"
        for key in keys
        if ours.get(key) != theirs.get(key)
    ]


def _settings(run: RunRecord, task: str) -> dict[str, Any]:
    settings = task_settings(run, task)
    return {key: value for key, value in settings.items() if key not in COMPUTED} | {"metric": run.scores[task].metric}


def task_settings(run: RunRecord, task: str) -> dict[str, Any]:
    """The config of a task, as it stands in the run's record."""
    found: dict[str, Any] = run.config["evaluate"]["tasks"][task]
    return found


def _other_than(names: Sequence[str], left_out: Sequence[str]) -> str:
    return f"tasks=[{','.join(name for name in names if name not in left_out)}]"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
