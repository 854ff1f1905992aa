"""A study of correlations as tables: for the terminal (rich) and in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from siftune.runs.studies.correlation_result import Findings, Study
from siftune.runs.studies.statistics import Correlation, Estimate
from siftune.selection.diversity import MEASURES

NONE = "–"
MEANING = (
    "Positive: the subset that is more diverse by the measure (↓: the one with the lower value) has the better model."
)


def arrow(measure: str) -> str:
    """Its label, and the direction in which it says more diverse."""
    return f"{MEASURES[measure].label} {'↑' if MEASURES[measure].more_is_more_diverse else '↓'}"


def spell(estimate: Estimate | None) -> str:
    """0.85 [0.70, 0.93]."""
    if estimate is None:
        return NONE
    interval = f" [{_number(estimate.low)}, {_number(estimate.high)}]" if np.isfinite(estimate.low) else ""
    return _number(estimate.value) + interval


def _number(value: float) -> str:
    """Two decimals; what rounds to zero has no sign."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def print_study(study: Study, findings: Findings, console: Console) -> None:
    """Print the correlations over all subsets, and within sizes where there are several."""
    for title, found in _sets(study, findings).items():
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("measure", no_wrap=True)
        table.add_column("Pearson", no_wrap=True)
        table.add_column("Spearman", no_wrap=True)
        for measure in findings.order:
            correlation = found[measure]
            table.add_row(arrow(measure), spell(correlation.pearson), spell(correlation.spearman))
        console.print(Text(title, style="bold"))
        console.print(table)
        for note in _notes(findings.order, found):
            console.print(Text(note, style="dim"))
        console.print()
    for text in (_what(study), f"{MEANING} {_how(study)}"):
        console.print(Text(text, style="dim"))


def markdown(study: Study, findings: Findings, pictures: Sequence[Path]) -> str:
    """The whole study in Markdown, with its pictures by file name."""
    parts = ["# siftune study correlation", "", _what(study), "", f"{MEANING} {_how(study)}", ""]
    for title, found in _sets(study, findings).items():
        parts += [f"## {title}", "", *_correlations(findings.order, found), ""]
    for picture in pictures:
        parts += [f"![{picture.stem}]({picture.name})", ""]
    if findings.by_size:
        parts += ["## Each size alone (Pearson)", "", *_by_size(findings), ""]
    parts += ["## Subsets", "", *_subsets(study), ""]
    return "\n".join(parts)


def _sets(study: Study, findings: Findings) -> dict[str, Mapping[str, Correlation]]:
    sets = {f"All {len(study.subsets)} subsets": findings.over_all}
    if findings.by_size:
        sets[f"Within sizes: measure and quality standardised among the subsets of {', '.join(findings.by_size)}"] = (
            findings.within
        )
    return sets


def _what(study: Study) -> str:
    runs = sum(len(subset.runs) for subset in study.subsets)
    same = " (runs on the same rows are one subset, and their results averaged)" if runs > len(study.subsets) else ""
    return (
        f"{len(study.subsets)} subsets of the pool {study.subsets[0].runs[0].pool}, "
        f"{runs} fine-tuned models of {study.subsets[0].runs[0].model}{same}. Quality is the mean of the z-scores of "
        f"{len(study.tasks)} benchmarks: {', '.join(study.tasks)}."
    )


def _how(study: Study) -> str:
    resampling = study.resampling
    return (
        f"In brackets: {100 * resampling.confidence:g}% intervals by the bootstrap over subsets (BCa, "
        f"{resampling.resamples:,} resamples)."
    )


def _correlations(order: Sequence[str], found: Mapping[str, Correlation]) -> list[str]:
    rows = [["measure", "Pearson", "Spearman", "subsets"], ["---", "---", "---", "---:"]]
    for measure in order:
        estimates = [spell(found[measure].pearson), spell(found[measure].spearman)]
        rows.append([arrow(measure), *estimates, str(found[measure].subsets)])
    notes = _notes(order, found)
    return [*_lines(rows), *([""] if notes else []), *(f"- {note}" for note in notes)]


def _notes(order: Sequence[str], found: Mapping[str, Correlation]) -> list[str]:
    return [f"{MEASURES[measure].label}: {found[measure].note}" for measure in order if found[measure].note]


def _by_size(findings: Findings) -> list[str]:
    sizes = [f"{size} ({next(iter(found.values())).subsets})" for size, found in findings.by_size.items()]
    rows = [["measure", *sizes], ["---"] * (1 + len(sizes))]
    for measure in findings.order:
        rows.append([arrow(measure), *(spell(found[measure].pearson) for found in findings.by_size.values())])
    return _lines(rows)


def _subsets(study: Study) -> list[str]:
    rows = [["method", "size", "seeds", "quality ↑", *map(arrow, study.values)]]
    rows.append(["---", "---", "---", *["---:"] * (1 + len(study.values))])
    for place, subset in enumerate(study.subsets):
        seeds = ", ".join(map(str, subset.seeds))
        numbers = [f"{study.quality[place]:.3f}", *(f"{values[place]:.5g}" for values in study.values.values())]
        rows.append([subset.methods.replace("|", "\\|"), subset.budget, seeds, *numbers])
    return _lines(rows)


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in rows]
