"""What a search found: its trials as a table, in the terminal and in Markdown, with two pictures."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from siftune.runs.searching.space import override, written
from siftune.runs.searching.state import Search, Trial
from siftune.runs.tables import MISSING, Cells, fitting, markdown_table

NAME = "search.md"


def show_search(search: Search, folder: Path) -> None:
    """Print the trials, and write them with their pictures."""
    console = Console()
    for table in fitting(_names(search), columns_of(search), console, "trial"):
        console.print(table)
    for line in [sentence(search), *best_lines(search)]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    files = write_report(search, folder)
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"written: {', '.join(map(str, files))}", markup=False)


def write_report(search: Search, folder: Path) -> list[Path]:
    """search.md, history.png and parameters.png (the last two where a trial has a value)."""
    from siftune.runs.searching.plots import history_figure, parameters_figure

    figures = {"history": history_figure(search), "parameters": parameters_figure(search)}
    pictures = {folder / f"{name}.png": figure for name, figure in figures.items() if figure is not None}
    for path, figure in pictures.items():
        figure.savefig(path)
    (folder / NAME).write_text(markdown(search, list(pictures)), encoding="utf-8")
    return [folder / NAME, *pictures]


def markdown(search: Search, pictures: Sequence[Path]) -> str:
    """The whole report."""
    lines = [f"# Search {search.name}", "", sentence(search), ""]
    lines += ["Searched:", "", *(f"- `{line}`" for line in search.space), ""]
    lines += [f"In all trials: `{shlex.join(search.fixed)}`", ""] if search.fixed else []
    found, *command = best_lines(search)
    lines += [found, "", *(f"    {line}" for line in command), ""]
    lines += [*markdown_table(_names(search), columns_of(search), "trial"), ""]
    lines += [f"![{path.stem}]({path.name})\n" for path in pictures]
    return "\n".join(lines)


def sentence(search: Search) -> str:
    """How many trials ended how."""
    counts = {state: search.count(state) for state in ("complete", "pruned", "failed", "running")}
    ends = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    runs = sum(len(trial.rungs) for trial in search.trials)
    return f"{len(search.trials)} trials ({ends}), {runs} runs; {search.direction} {search.objective}."


def columns_of(search: Search) -> list[Cells]:
    """State, the value at every budget, the parameters; the best trial in bold."""
    trials, best = search.trials, search.best
    bold = tuple(trial is best for trial in trials)
    budgets = sorted({rung.budget for trial in trials for rung in trial.rungs})
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    columns = [Cells("state", "", tuple(trial.state for trial in trials), bold)]
    columns += [
        Cells(search.objective, f"budget {budget:g}", tuple(_at(trial, budget) for trial in trials), bold)
        for budget in budgets
    ]
    columns += [Cells(_short(key, keys), "", tuple(_param(trial, key) for trial in trials), bold) for key in keys]
    if any(trial.error for trial in trials):
        columns.append(Cells("error", "", tuple((trial.error or "")[:60] for trial in trials), bold))
    return columns


def best_lines(search: Search) -> list[str]:
    """The best trial, and the command that makes its run alone."""
    best = search.best
    if best is None:
        return ["No trial is complete."]
    chosen = [override(key, value) for key, value in best.params.items()]
    # An experiment may be a search itself.
    alone = ["hydra.mode=RUN"] if any(line.startswith("experiment=") for line in search.fixed) else []
    command = shlex.join(["siftune", "run", *search.fixed, *chosen, *alone])
    return [f"Best: trial {best.number}, {search.objective} {best.value:.5g}", command]


def _names(search: Search) -> list[str]:
    return [str(trial.number) for trial in search.trials]


def _at(trial: Trial, budget: float) -> str:
    return next((f"{rung.value:.4f}" for rung in trial.rungs if rung.budget == budget), MISSING)


def _param(trial: Trial, key: str) -> str:
    if key not in trial.params:
        return MISSING
    value = trial.params[key]
    return f"{value:.3g}" if isinstance(value, float) else written(value)


def _short(key: str, keys: Sequence[str]) -> str:
    """The last part of a key, where no other ends so."""
    last = key.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in keys) == 1 else key
