"""`siftune compare`: which questions flipped between two models, and whether that is more than luck."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from rich.console import Console

from siftune.evaluate.samples import CORPUS, NotPerDocumentError, score
from siftune.runs.build import build, unknown
from siftune.runs.commands import check_output
from siftune.runs.comparing.answers import PairedAnswers, paired_answers
from siftune.runs.comparing.config import CompareConfig
from siftune.runs.comparing.flips import flips
from siftune.runs.comparing.report import CompareReport, Difference, PairTest, adjusted
from siftune.runs.comparing.sides import Pair, Side, common_tasks, find_side, pair_up
from siftune.runs.comparing.statistics import mcnemar, p_value, paired_bootstrap, percentile_interval
from siftune.runs.comparing.table import markdown, print_table
from siftune.runs.reporting.records import ReportError, RunRecord, read_store
from siftune.selection.files import write_whole

CLOSE = 1e-6
"""A score computed from the questions that differs by less from the one recorded is the same."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


def check_compare(node: Mapping[str, Any]) -> None:
    """Refuse runs that cannot be compared; ReportError says what differs."""
    config: CompareConfig = build(CompareConfig, node)
    check_output(config.output)
    common_tasks(pair_up(*sides_of(config, lambda text: None)), config.tasks)


def compare(node: Mapping[str, Any]) -> CompareReport:
    """Compare, print and write; returns what was found."""
    config: CompareConfig = build(CompareConfig, node)
    report = compared(config)
    if config.format == "table":
        print_table(report, Console())
    else:
        print(markdown(report, config.examples) if config.format == "markdown" else _json(report))
    files = _write(report, config)
    stderr = Console(stderr=True, highlight=False)
    stderr.print(f"written: {', '.join(map(str, files))}", markup=False, soft_wrap=True)
    return report


def compared(config: CompareConfig) -> CompareReport:
    """Task by task, and over all tasks of a kind."""
    stderr = Console(stderr=True, highlight=False)
    a, b = sides_of(config, lambda text: stderr.print(text, style="yellow", markup=False, soft_wrap=True))
    pairs = pair_up(a, b)
    tasks, answers, replicates, flipped = [], [], [], []
    for name in common_tasks(pairs, config.tasks):
        try:
            paired = paired_answers(name, pairs)
        except NotPerDocumentError as error:
            tasks.append(_untested(name, pairs, str(error)))
            continue
        answers.append(paired)
        replicates.append(_replicates(paired, config))
        tasks.append(_difference(paired, pairs, replicates[-1], config.confidence))
        flipped += flips(paired)
    return CompareReport(
        a=a,
        b=b,
        pairs=pairs,
        tasks=adjusted(tasks),
        together=_together(answers, replicates, tasks, config),
        confidence=config.confidence,
        resamples=config.resamples,
        flips=tuple(flipped),
    )


def sides_of(config: CompareConfig, complain: Callable[[str], None]) -> tuple[Side, Side]:
    """The two that the config names; ReportError where the store has no such runs."""
    runs = read_store(config.store, complain)
    groups = {run.group for run in runs if run.group is not None}
    if config.group is not None and config.group not in groups:
        raise ReportError(unknown(f"group={config.group}", config.group, groups, f"group in {config.store}"))
    found = [find_side(key, getattr(config, key), runs, config.group, config.seeds) for key in ("a", "b")]
    return found[0], found[1]


def _difference(paired: PairedAnswers, pairs: Sequence[Pair], replicates: np.ndarray, confidence: float) -> Difference:
    improvement = paired.improvement
    shown = improvement if paired.binary else improvement.mean(axis=0)
    low, high = percentile_interval(replicates, confidence)
    a, b = _recorded(paired.task, pairs)
    return Difference(
        name=paired.task,
        metric=paired.metric,
        higher_is_better=paired.higher_is_better,
        binary=paired.binary,
        questions=len(paired.questions),
        a=a,
        b=b,
        low=low,
        high=high,
        better=int((shown > 0).sum()),
        worse=int((shown < 0).sum()),
        p=p_value(improvement, paired.binary),
        pairs=_pair_tests(paired) if paired.binary and len(pairs) > 1 else (),
        note=_note(paired, b - a),
    )


def _pair_tests(paired: PairedAnswers) -> tuple[PairTest, ...]:
    tests = []
    for (one, other), improvement in zip(paired.pairs, paired.improvement, strict=True):
        better, worse = int((improvement > 0).sum()), int((improvement < 0).sum())
        p = mcnemar(better, worse)
        tests.append(PairTest(seed_a=one.run.seed, seed_b=other.run.seed, better=better, worse=worse, p=p))
    return tuple(tests)


def _replicates(paired: PairedAnswers, config: CompareConfig) -> np.ndarray:
    """(resamples,) differences of the task's score, each on questions drawn with replacement."""
    # By name, so that a task's interval does not depend on the tasks beside it, nor two tasks draw alike.
    rng = np.random.default_rng([config.bootstrap_seed, zlib.crc32(paired.task.encode())])
    means = paired.a.mean(axis=0), paired.b.mean(axis=0)
    return paired_bootstrap(*means, paired.weights, lambda mean: score(paired.metric, mean), config.resamples, rng)


def _note(paired: PairedAnswers, difference: float) -> str:
    """Where the recorded score is not that of the questions, each counted alike."""
    if paired.metric in CORPUS:
        return f"{paired.metric} of all texts together; interval and tests are of the texts one by one"
    total = paired.weights.sum()
    a, b = (float(score(paired.metric, side.sum(axis=1) / total).mean()) for side in (paired.a, paired.b))
    if abs((b - a) - difference) <= CLOSE * max(1.0, abs(a), abs(b)):
        return ""
    return f"its score does not count every question alike, as interval and tests do: from {a:.4g} to {b:.4g}"


def _recorded(task: str, pairs: Sequence[Pair]) -> tuple[float, float]:
    """The scores in the records, means over the runs of the pairs."""
    return fmean(pair.a.scores[task].value for pair in pairs), fmean(pair.b.scores[task].value for pair in pairs)


def _untested(task: str, pairs: Sequence[Pair], why: str) -> Difference:
    a, b = _recorded(task, pairs)
    recorded: RunRecord = pairs[0].a
    return Difference(
        name=task,
        metric=recorded.scores[task].metric,
        higher_is_better=recorded.scores[task].higher_is_better,
        binary=False,
        questions=recorded.scores[task].samples,
        a=a,
        b=b,
        low=None,
        high=None,
        better=0,
        worse=0,
        p=None,
        note=why,
    )


def _together(
    answers: Sequence[PairedAnswers],
    replicates: Sequence[np.ndarray],
    tasks: Sequence[Difference],
    config: CompareConfig,
) -> tuple[Difference, ...]:
    """All tasks whose answers are right or wrong, and all of each other metric, where there are two or more."""
    by_name = {task.name: task for task in tasks}
    kinds: dict[str, list[int]] = {}
    for position, paired in enumerate(answers):
        kinds.setdefault("right answers" if paired.binary else paired.metric, []).append(position)
    return tuple(
        _joined(
            kind,
            [answers[position] for position in positions],
            [replicates[position] for position in positions],
            [by_name[answers[position].task] for position in positions],
            config.confidence,
        )
        for kind, positions in kinds.items()
        if len(positions) > 1
    )


def _joined(
    kind: str,
    answers: Sequence[PairedAnswers],
    replicates: Sequence[np.ndarray],
    tasks: Sequence[Difference],
    confidence: float,
) -> Difference:
    """Scores are means over the tasks, with an interval by resampling in each; the test is of all questions."""
    directions = {task.higher_is_better for task in tasks}
    low, high = percentile_interval(np.mean(replicates, axis=0), confidence)
    return Difference(
        name=f"all {len(tasks)}: {kind}",
        metric="mean of the tasks",
        higher_is_better=directions.pop() if len(directions) == 1 else None,
        binary=answers[0].binary,
        questions=sum(task.questions for task in tasks),
        a=fmean(task.a for task in tasks),
        b=fmean(task.b for task in tasks),
        low=low,
        high=high,
        better=sum(task.better for task in tasks),
        worse=sum(task.worse for task in tasks),
        p=p_value(np.concatenate([paired.improvement for paired in answers], axis=1), answers[0].binary),
    )


def _write(report: CompareReport, config: CompareConfig) -> list[Path]:
    folder = config.output or config.store / "compare" / _folder_name(report)
    files = {
        "flips.jsonl": "".join(json.dumps(flip, ensure_ascii=False) + "\n" for flip in report.flips),
        "compare.md": markdown(report, config.examples),
        "compare.json": _json(report) + "\n",
    }
    for name, content in files.items():
        write_whole(folder / name, content)
    return [folder / name for name in files]


def _folder_name(report: CompareReport) -> str:
    runs = [f"{pair.a.fingerprint} {pair.b.fingerprint}" for pair in report.pairs]
    digest = hashlib.sha256(" ".join(runs).encode()).hexdigest()[:8]
    return _UNSAFE.sub("-", f"{report.a.name}-vs-{report.b.name}-{digest}")


def _json(report: CompareReport) -> str:
    return json.dumps(report.to_json(), indent=1, ensure_ascii=False)
