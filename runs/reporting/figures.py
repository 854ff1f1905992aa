"""What the pictures of a report share."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from siftune.runs.reporting.plots import BASE, BASELINE, DPI, METHOD
from siftune.runs.reporting.rows import RANDOM

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LETTER = 0.1
"""Inches that a letter of a title takes."""


def new_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of so many inches, its title on as many lines as it needs."""
    from matplotlib.figure import Figure

    lines = textwrap.wrap(title, max(20, int(width / LETTER)))
    figure = Figure(figsize=(width, height + 0.18 * (len(lines) - 1)), layout="constrained", dpi=DPI)
    figure.suptitle("\n".join(lines), fontsize=11, fontweight="bold")
    return figure


def colour_of(name: str, is_base: bool = False) -> str:
    """Grey for the base model, orange for random selection and its variants, blue for the methods."""
    return BASE if is_base else BASELINE if name.split(" (")[0] == RANDOM else METHOD
