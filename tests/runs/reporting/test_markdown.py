"""The report as Markdown: what is data stays text, pictures are small and named."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from siftune.runs.reporting.content import Report
from siftune.runs.reporting.markdown import PIXELS, SHOWN, markdown, plain, write_pictures


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nats_per_byte of kmq(k=3)", "nats_per_byte of kmq(k=3)"),
        ("a *b* _c_ `d`", r"a \*b\* \_c\_ \`d\`"),
        ("[0.1, 0.2] <0.001", "[0.1, 0.2] <0.001"),
        ("[x](http://y) <b>", r"[x\](http://y) \<b>"),
        ("# one\n> two", r"\# one > two"),
    ],
)
def test_text_has_no_markup(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_everything_is_there(full_report: Report) -> None:
    lines = markdown(full_report).splitlines()
    assert lines[:3] == [r"# A \<report> & more", "", "5 runs"]
    assert "### tiny: pool skills" in lines
    assert f"| method |{' task {} ↑<br>exact_match |' * 12}".format(*range(12)) in lines
    assert f"| e |{' **10.0** |' * 12}" in lines
    assert f"| b |{' – |' * 12}" in lines
    assert [line for line in lines if line.startswith("![")] == [
        "![lines](lines.png)",
        "![heat](heat.png)",
        "![cloud](cloud.png)",
    ]
    assert "<summary>Stages</summary>" in lines
    assert f"<summary>random: seed 0, {SHOWN} of 5</summary>" in lines


def test_a_row_that_holds_markup_is_between_fences(full_report: Report) -> None:
    lines = markdown(full_report).splitlines()
    hostile = [number for number, line in enumerate(lines) if line.startswith("<script>")]
    assert len(hostile) == SHOWN
    assert all(lines[number - 1] == "```text" and lines[number + 1] == "```" for number in hostile)
    inner = lines.index("| a |")
    assert (lines[inner - 2], lines[inner - 1], lines[inner + 1], lines[inner + 2]) == (
        "````text",
        "```",
        "```",
        "````",
    )
    titles = [line for line in lines if line.startswith("**row 7")]
    assert len(titles) == SHOWN
    assert all(line.count("<") == line.count(r"\<") == 3 for line in titles)


def test_pictures_can_be_left_out(full_report: Report) -> None:
    assert "![" not in markdown(full_report, pictures=False)


def test_pictures_are_small(full_report: Report, tmp_path: Path) -> None:
    paths = write_pictures(full_report, tmp_path)
    assert [path.name for path in paths] == ["lines.png", "heat.png", "cloud.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert 400 < picture.width <= PIXELS
        assert path.stat().st_size < 60_000
