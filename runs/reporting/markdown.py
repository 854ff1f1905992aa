"""A report as Markdown with PNGs beside it: small enough to be kept in a repository."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from siftune.runs.reporting.content import Cell, Column, Example, Part, Picture, Report, Table
from siftune.runs.tables import escape
from siftune.selection.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKDOWN = "report.md"
PIXELS = 1_600
"""Widest picture: what a repository's page shows, at twice its density."""
DPI = 130
COLOURS = 256
SHOWN = 3
"""Examples of a heading: a page has them all."""
_MARKS = re.compile(r"[\\`*]|\](?=[(\[:])|<(?=[A-Za-z/!?])|(?<!\w)_|_(?!\w)|^[#>+-](?= )")
"""What would begin markup: a bracket that a link could follow, a tag, an underscore that is not inside a word."""
_BACKTICKS = re.compile(r"`+")


def write_pictures(report: Report, folder: Path) -> list[Path]:
    """A PNG a picture, under its name."""
    found = [picture for part in report.parts for picture in part.pictures]
    for picture in found:
        write_whole(folder / _file(picture), _png(picture.figure))
    return [folder / _file(picture) for picture in found]


def markdown(report: Report, pictures: bool = True) -> str:
    """The text, which embeds the pictures by their file names."""
    lines = [f"# {plain(report.title)}", ""]
    if report.subtitle:
        lines += [plain(report.subtitle), ""]
    for part in report.parts:
        lines += _part(part, pictures)
    return "\n".join(lines).rstrip("\n") + "\n"


def plain(text: str) -> str:
    """Text whose marks mean nothing to Markdown."""
    return _MARKS.sub(r"\\\g<0>", " ".join(text.split()))


def _part(part: Part, pictures: bool) -> list[str]:
    lines = [f"## {plain(part.title)}", ""]
    for paragraph in part.text:
        lines += [plain(paragraph), ""]
    for table in part.tables:
        lines += _table(table)
    for picture in part.pictures if pictures else ():
        lines += [f"![{picture.name}]({_file(picture)})", "", plain(picture.caption), ""]
    for heading, examples in part.examples:
        lines += _examples(heading, examples)
    return lines


def _table(table: Table) -> list[str]:
    rows = [[_header(column) for column in table.columns]]
    rows.append(["---:" if column.numeric and number else "---" for number, column in enumerate(table.columns)])
    rows += [[_cell(cell) for cell in row] for row in table.rows]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if table.collapsed:
        return _folded(table.caption or table.name, lines)
    return [*([f"### {plain(table.caption)}", ""] if table.caption else []), *lines, ""]


def _header(column: Column) -> str:
    parts = [escape(plain(text)) for text in (column.header, column.detail) if text]
    return "<br>".join(parts)


def _cell(cell: Cell) -> str:
    text = escape(plain(cell.text))
    return f"**{text}**" if cell.best else text


def _examples(heading: str, examples: Sequence[Example]) -> list[str]:
    lines = []
    for example in examples[:SHOWN]:
        lines += [f"**{plain(example.title)}**", ""]
        for role, text in example.turns:
            lines += [f"{plain(role)}:", "", *_quoted(text), ""]
    more = f", {SHOWN} of {len(examples)}" if len(examples) > SHOWN else ""
    return _folded(f"{heading}{more}", lines)


def _quoted(text: str) -> list[str]:
    """As it is, between fences longer than any inside it."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *text.splitlines(), fence]


def _folded(summary: str, lines: Sequence[str]) -> list[str]:
    return ["<details>", f"<summary>{_html(summary)}</summary>", "", *lines, "", "</details>", ""]


def _html(text: str) -> str:
    from html import escape as escape_html

    return escape_html(" ".join(text.split()))


def _file(picture: Picture) -> str:
    return f"{picture.name}.png"


def _png(figure: Figure) -> bytes:
    """With a palette: a third of the size, and no difference to the eye."""
    from PIL import Image

    buffer, small = io.BytesIO(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=min(DPI, PIXELS / figure.get_figwidth()))
    Image.open(buffer).convert("RGB").quantize(COLOURS).save(small, format="png", optimize=True)
    return small.getvalue()
