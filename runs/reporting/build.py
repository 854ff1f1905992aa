"""A whole report of runs: every part that has something to say of them, the leaderboard first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from siftune.runs.paper import Paper
from siftune.runs.reporting.content import Report
from siftune.runs.reporting.records import RunRecord


def build_report(runs: Sequence[RunRecord], store: Path, paper: Paper | None = None, miniature: bool = False) -> Report:
    """The report of these runs of a store.

    paper: the table they stand for, whose figures are put beside theirs; miniature: whether they are its miniature."""
    from siftune.runs.reporting.cost_figures import cost_part
    from siftune.runs.reporting.curves import curves_part
    from siftune.runs.reporting.leaderboard import leaderboard_part
    from siftune.runs.reporting.picks import picks_part
    from siftune.runs.reporting.provenance import provenance_part
    from siftune.runs.reporting.training import training_part
    from siftune.runs.reproduction.paper_table import compare_with_paper, paper_part

    comparison = compare_with_paper(runs, paper, miniature)
    parts = [
        leaderboard_part(runs),
        None if comparison is None else paper_part(comparison),
        cost_part(runs),
        curves_part(runs, comparison),
        picks_part(runs, store),
        training_part(runs),
        provenance_part(runs, store),
    ]
    kept = tuple(part for part in parts if part is not None)
    return Report(title=_title(runs), subtitle=_subtitle(runs), parts=kept)


def _title(runs: Sequence[RunRecord]) -> str:
    groups = dict.fromkeys(run.group for run in runs if run.group is not None and not run.is_base)
    return f"siftune: {', '.join(groups)}" if 0 < len(groups) <= 2 else "siftune report"


def _subtitle(runs: Sequence[RunRecord]) -> str:
    trained = [run for run in runs if not run.is_base]
    methods = len({run.label for run in trained})
    seeds = len({run.seed for run in trained})
    days = sorted(run.created[:10] for run in runs)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    found = [_counted(len(runs), "run"), _counted(methods, "method"), _counted(seeds, "seed"), when]
    return " · ".join([*found, *_names("model", runs), *_names("pool", trained), *_names("suite", runs)])


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _names(what: str, runs: Sequence[RunRecord]) -> list[str]:
    names = list(dict.fromkeys(str(getattr(run, what)) for run in runs if getattr(run, what) is not None))
    return [f"{what} {names[0]}"] if len(names) == 1 else [f"{len(names)} {what}s"] if names else []
