"""A report as one HTML page that holds all it needs: it opens from disk, without a network, on a phone, in the dark."""

from __future__ import annotations

import base64
import functools
import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

from siftune.runs.reporting.content import Picture, Report
from siftune.runs.reporting.page_figures import inline_svg, stylesheet
from siftune.selection.files import write_whole

if TYPE_CHECKING:
    from jinja2 import Template

PAGE = "report.html"
ASSETS = Path(__file__).parent / "page_assets"


def write_page(report: Report, path: Path) -> None:
    """Write the page, whole or not at all."""
    write_whole(path, page(report))


def page(report: Report) -> str:
    """The page. Whatever the report says is text: rows of a pool that hold HTML are shown, never run."""
    from markupsafe import Markup

    figures = {picture.name: Markup(_svg(picture)) for part in report.parts for picture in part.pictures}
    script = _asset("page.js")
    return _template().render(
        report=report,
        figures=figures,
        style=Markup(_asset("page.css") + stylesheet("".join(figures.values()))),
        script=Markup(script),
        # The browser runs this script and no other one.
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _svg(picture: Picture) -> str:
    return inline_svg(picture.figure, picture.name, f"caption-{picture.name}")


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(ASSETS)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["sortable"] = _is_sortable
    return environment.get_template("page.html")


def _is_sortable(value: float | str | None) -> bool:
    return value is not None and (isinstance(value, str) or math.isfinite(value))


@functools.cache
def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")
