"""The simulation as tables: for the terminal (rich) and in Markdown."""

from __future__ import annotations

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from siftune.runs.studies.simulation_result import HIGH, SimulationResult
from siftune.selection.diversity import MEASURES
from siftune.selection.measures.simulation import SCENARIOS

NONE = "–"
SAME = 0.05
"""Correlations of different seeds that lie no further apart are given as one."""


def label_of(measure: str) -> str:
    """Its name, and the direction in which it says more diverse."""
    return f"{MEASURES[measure].label} {'↑' if MEASURES[measure].more_is_more_diverse else '↓'}"


def print_table(result: SimulationResult, console: Console) -> None:
    """Print the mean correlations, coloured by whether the measure has the order right."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    table.add_column("measure", no_wrap=True)
    for scenario in result.amounts:
        table.add_column(SCENARIOS[scenario].label.replace(" ", "\n"), justify="right", no_wrap=True)
    table.add_column("in\norder", justify="right", no_wrap=True)
    for measure in result.values:
        cells = [_coloured(result, measure, scenario) for scenario in result.amounts]
        table.add_row(label_of(measure), *cells, _count(result, measure))
    console.print(Text(title(result), style="bold"))
    console.print(table)
    console.print(Text(note(result), style="dim"))


def markdown(result: SimulationResult, picture: str | None = None) -> str:
    """The whole study in Markdown, with its picture by file name."""
    labels = [SCENARIOS[scenario].label for scenario in result.amounts]
    lines = [["measure", *labels, "in order"], ["---", *["---:"] * (len(labels) + 1)]]
    for measure in result.values:
        cells = [_spelt(result, measure, scenario) for scenario in result.amounts]
        lines.append([label_of(measure), *cells, _count(result, measure)])
    counted = [
        f"- {SCENARIOS[name].label}: {SCENARIOS[name].counted}, {', '.join(f'{amount:.3g}' for amount in amounts)}"
        for name, amounts in result.amounts.items()
    ]
    parts = ["# siftune study simulation", "", title(result), "", *(f"| {' | '.join(line)} |" for line in lines), ""]
    parts += [
        note(result),
        f"In brackets: the range over seeds, where wider than {SAME:g}. Bold: in order.",
        "",
        *counted,
        "",
    ]
    return "\n".join(parts + ([f"![every measure in every scenario]({picture})", ""] if picture else []))


def title(result: SimulationResult) -> str:
    """What was done, in a line."""
    levels = len(next(iter(result.amounts.values())))
    reference = "" if result.repeats_in_reference else "; each row of the reference once"
    sets = f"{levels} sets of {result.rows} rows, {result.seeds} seeds"
    return f"Does it put sets of known diversity in order? {sets}{reference}"


def note(result: SimulationResult) -> str:
    """How the figures are read."""
    return (
        "Spearman's correlation of the measure (↓: turned round) with the known order, mean over seeds; 1: in order, "
        f"−1: in the opposite order. In order: scenarios where it is at least {HIGH:g} for every seed."
    )


def _coloured(result: SimulationResult, measure: str, scenario: str) -> Text:
    style = {"in order": "green", "unsure": "yellow", "opposite": "red", "undefined": "dim"}
    return Text(number(result.agreements(measure, scenario)), style=style[result.verdict(measure, scenario)])


def _spelt(result: SimulationResult, measure: str, scenario: str) -> str:
    agreements = result.agreements(measure, scenario)
    low, high = agreements.min(), agreements.max()
    spread = f" [{number(low)}, {number(high)}]" if high - low > SAME else ""
    text = f"{number(agreements)}{spread}"
    return f"**{text}**" if result.verdict(measure, scenario) == "in order" else text


def _count(result: SimulationResult, measure: str) -> str:
    return f"{len(result.in_order(measure))} of {len(result.amounts)}"


def number(values: np.ndarray) -> str:
    """Their mean."""
    mean = float(np.mean(values))
    return NONE if np.isnan(mean) else f"{mean:.2f}".replace("-", "−")
