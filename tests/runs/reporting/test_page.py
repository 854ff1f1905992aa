"""The page as text: nothing of the data is markup, nothing is fetched, ids are unique, and so on without a browser."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from siftune.runs.reporting.content import Cell, Column, Part, Report, Table
from siftune.runs.reporting.page import page, write_page
from siftune.runs.reporting.page_colours import CONTRAST, DARK_INK, DARK_PAPER, contrast, in_the_dark, is_grey
from siftune.runs.reporting.page_figures import MANY_POINTS, inline_svg, stylesheet

VOID = {"meta", "link", "input"}
LOADING = {"src", "srcset", "action", "data", "poster", "background"}


class Page(HTMLParser):
    """Elements with their attributes, and whether each is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def values(self, attribute: str) -> list[str]:
        return [str(attributes[attribute]) for _, attributes in self.elements if attribute in attributes]


@pytest.fixture(scope="module")
def text(full_report: Report) -> str:
    return page(full_report)


@pytest.fixture(scope="module")
def parsed(text: str) -> Page:
    return Page(text)


def svg_of(figure: Figure) -> str:
    return inline_svg(figure, "figure-x", "caption-x")


def test_what_the_data_holds_is_text(parsed: Page, text: str) -> None:
    assert [tag for tag, _ in parsed.elements if tag in ("script", "img")] == ["script"]
    assert "&lt;script&gt;document.title" in text
    assert parsed.values("onerror") == []
    assert "<h1>A &lt;report&gt; &amp; more</h1>" in text


def test_nothing_is_fetched(parsed: Page, text: str) -> None:
    assert not [tag for tag, attributes in parsed.elements if LOADING & attributes.keys()]
    links = [(tag, str(attributes["href"])) for tag, attributes in parsed.elements if "href" in attributes]
    outside = [(tag, link) for tag, link in links if not link.startswith(("#", "data:"))]
    assert outside == [("a", "https://arxiv.org/abs/1")]
    assert len(re.findall(r"https?://", text)) == 2  # the link and its text
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)


def test_ids_are_unique_and_what_is_referred_to_is_there(parsed: Page) -> None:
    ids = parsed.values("id")
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    inside = [link[1:] for link in parsed.values("href") if link.startswith("#")]
    labels = [*parsed.values("aria-labelledby"), *parsed.values("data-notes")]
    clips = [found for value in parsed.values("clip-path") for found in re.findall(r"url\(#(.+)\)", value)]
    assert {"scores", "picks", "content"} <= set(inside)
    assert clips
    assert {*inside, *labels, *clips} <= set(ids)


def test_tables_say_what_their_headers_are(parsed: Page, text: str) -> None:
    headers = [attributes for tag, attributes in parsed.elements if tag == "th"]
    assert Counter(attributes["scope"] for attributes in headers) == {"col": 13 + 2, "row": 5 + 40}
    assert all(attributes["aria-sort"] == "none" for attributes in headers if attributes["scope"] == "col")
    assert "<strong>10.0</strong>" in text
    assert 'data-value="1.5" title="second seed"' in text


@pytest.mark.parametrize(
    ("value", "expected"), [(None, ""), (float("nan"), ""), (float("inf"), ""), (0.0, ' data-value="0.0"')]
)
def test_what_has_no_place_in_an_order_sorts_as_missing(value: float | None, expected: str) -> None:
    columns = (Column(header="a", numeric=False), Column(header="b"))
    table = Table(name="t", columns=columns, rows=((Cell(text="x", value="x"), Cell(text="y", value=value)),))
    written = page(Report(title="r", parts=[Part(name="p", title="P", tables=[table])]))
    assert f'<td class="number"{expected}><span>y</span></td>' in written


def test_the_same_report_is_the_same_page(full_report: Report, text: str, tmp_path: Path) -> None:
    write_page(full_report, tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == text


def test_an_empty_report_is_a_page() -> None:
    assert [tag for tag, _ in Page(page(Report(title="nothing"))).elements if tag == "section"] == []


def test_greys_turn_round_and_what_is_dark_gets_lighter() -> None:
    assert (in_the_dark("#000000"), in_the_dark("#ffffff")) == (DARK_INK, DARK_PAPER)
    assert is_grey("#faf4ea")
    assert not is_grey("#0072b2")
    for colour in ("#332288", "#000080", "#882255", "#0072b2", "#f0e442"):
        assert contrast(in_the_dark(colour), DARK_PAPER) >= CONTRAST
    assert in_the_dark("#f0e442") == "#f0e442"
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the grey that just fails WCAG's AA


def test_the_stylesheet_knows_the_dark_paper(text: str) -> None:
    css = (Path(__file__).parents[3] / "runs" / "reporting" / "page_assets" / "page.css").read_text(encoding="utf-8")
    assert f"--paper: {DARK_PAPER};" in css
    assert f"--ink: {DARK_INK};" in css
    assert stylesheet("fill: var(--c-332288)") == (
        ":root{--c-332288:#332288;}\n"
        f"@media screen and (prefers-color-scheme: dark){{:root{{--c-332288:{in_the_dark('#332288')};}}}}"
    )


def test_colours_that_follow_the_page_are_variables() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#332288")
    axes.plot([0, 1], [1, 0], color="#f0e442")
    svg = svg_of(figure)
    assert "stroke: var(--c-332288)" in svg
    assert "stroke: #f0e442" in svg
    assert "#000000" not in svg


@pytest.mark.parametrize(("colour", "fixed"), [("#332288", True), ("#CFCFCF", False)])
def test_text_on_a_coloured_area_stays_as_it_is(colour: str, fixed: bool) -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.bar([0], [1], color=colour)
    axes.text(0, 0.5, "here", color="white")
    axes.text(2, 0.5, "there", color="white")
    svg = svg_of(figure)
    assert svg.count('class="on-colour"') == fixed
    assert svg.count("fill: #ffffff") == fixed


def test_many_points_are_an_image_for_the_day_and_one_for_the_night() -> None:
    figure = Figure()
    figure.subplots().scatter(range(MANY_POINTS + 1), range(MANY_POINTS + 1), color="#CFCFCF")
    svg = svg_of(figure)
    images = re.findall(r'<image[^>]*class="by-(\w+)"', svg)
    assert images == ["day", "night"]
    sources = re.findall(r'href="(data:[^"]+)"', svg)
    assert len(set(sources)) == 2
    few = Figure()
    few.subplots().scatter(range(MANY_POINTS), range(MANY_POINTS), color="#CFCFCF")
    assert "<image" not in svg_of(few)
