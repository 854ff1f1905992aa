"""The page in a real browser: nothing on its console, every figure shown, tables that sort, a phone, the dark, print.

Needs Chromium (or Chrome) and ChromeDriver on PATH: `apt-get install chromium chromium-driver`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from siftune.runs.reporting.content import Report
from siftune.runs.reporting.page import write_page
from siftune.runs.reporting.page_colours import DARK_INK, DARK_PAPER, contrast

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-quic", "--disable-dev-shm-usage"),
)
STARTED = re.compile(r"started successfully on port (\d+)")


class Browser:
    """A session with ChromeDriver, in its own protocol (W3C WebDriver) and the commands that Chrome adds."""

    def __init__(self, port: int, binary: str, profile: Path) -> None:
        self._root = f"http://127.0.0.1:{port}/session"
        options = {"binary": binary, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self._post("", {"capabilities": {"alwaysMatch": wanted}})
        self._root += f"/{session['sessionId']}"

    def open(self, address: str) -> None:
        """Load a page; a fragment alone would not, so that an empty one comes between."""
        self._post("/url", {"url": "about:blank"})
        self._post("/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """What the script returns."""
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def click(self, selector: str) -> None:
        """As with a mouse, where the element is shown."""
        self._post(f"/element/{self._find(selector)}/click", {})

    def press(self, selector: str, keys: str) -> None:
        """As with a keyboard, once the element has the focus."""
        self._post(f"/element/{self._find(selector)}/value", {"text": keys})

    def command(self, name: str, **parameters: Any) -> Any:
        """One of the DevTools protocol."""
        return self._post("/goog/cdp/execute", {"cmd": name, "params": parameters})

    def said(self) -> list[str]:
        """What is on the console since the last call."""
        return [f"{entry['level']}: {entry['message']}" for entry in self._post("/se/log", {"type": "browser"})]

    def close(self) -> None:
        """End the browser."""
        self._send("DELETE", "", None)

    def _find(self, selector: str) -> str:
        element = self._post("/element", {"using": "css selector", "value": selector})
        return str(next(iter(element.values())))

    def _post(self, path: str, body: Any) -> Any:
        return self._send("POST", path, body)

    def _send(self, method: str, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
            return json.load(answer)["value"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs Chromium and ChromeDriver: apt-get install chromium chromium-driver")
    # Not below pytest's folder, whose path may be too long for the browser's socket.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert process.stdout is not None
            port = next(found[1] for line in process.stdout if (found := STARTED.search(line)))
            session = Browser(int(port), binary, Path(profile))
            yield session
            session.close()
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def address(full_report: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(full_report, path)
    return path.as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Browser:
    """The page on a desk, in the light."""
    look(browser, 1280, 900, "light")
    browser.open(address)
    browser.said()
    return browser


def look(browser: Browser, width: int, height: int, scheme: str, media: str = "") -> None:
    phone = width < 600
    browser.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.command("Emulation.setEmulatedMedia", media=media, features=features)


def order(browser: Browser) -> str:
    """First column of the leaderboard."""
    rows = browser.run("return [...document.querySelectorAll('#table-leaderboard tbody th')].map(th => th.textContent)")
    return "".join(rows)


def sorted_columns(browser: Browser) -> list[list[Any]]:
    """[number, aria-sort] of the columns by which the leaderboard is sorted."""
    script = "return [...document.querySelectorAll('#table-leaderboard thead th')].map(th => th.ariaSort)"
    return [[number, state] for number, state in enumerate(browser.run(script), start=1) if state != "none"]


def fragment(browser: Browser) -> str:
    return str(browser.run("return location.hash"))


def header(number: int) -> str:
    return f"#table-leaderboard thead th:nth-child({number}) button"


def colour_of(browser: Browser, selector: str, which: str) -> str:
    """#rrggbb of a CSS colour of the first element."""
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    found = re.findall(r"[\d.]+", browser.run(script, selector, which))
    return "#" + "".join(f"{int(float(channel)):02x}" for channel in found[:3])


def test_nothing_is_on_the_console_and_nothing_of_a_row_runs(browser: Browser, address: str) -> None:
    look(browser, 1280, 900, "light")
    browser.said()
    browser.open(address)
    browser.run("document.querySelectorAll('details').forEach(details => { details.open = true })")
    assert browser.said() == []
    assert browser.run("return document.title") == "A <report> & more"
    assert browser.run("return document.querySelectorAll('article script, article img').length") == 0
    assert "<script>document.title" in browser.run("return document.querySelector('article blockquote').textContent")


def test_a_script_that_is_not_the_page_s_own_is_refused(page: Browser) -> None:
    page.run("const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)")
    assert page.run("return window.ran === undefined")
    assert any("Content Security Policy" in line for line in page.said())


def test_every_figure_is_shown(page: Browser) -> None:
    script = "return [...document.querySelectorAll('figure svg')].map(svg => {const b = svg.getBoundingClientRect();"
    sizes = page.run(script + "return [b.width, b.height, svg.querySelectorAll('path').length]})")
    assert len(sizes) == 3
    for width, tall, paths in sizes:
        assert width > 400
        assert tall > 200
        assert paths > 5
    script = (
        "const i = document.querySelector('image.by-day'); return [i.getBoundingClientRect().width, i.href.baseVal]"
    )
    width, source = page.run(script)
    assert width > 200
    assert source.startswith("data:image/png;base64,")


def test_a_click_sorts_stable_and_missing_last(page: Browser) -> None:
    assert (order(page), sorted_columns(page)) == ("abcde", [])
    page.click(header(3))
    # 10, the two of 1.5 as they stood, -2, and b, which has none
    assert (order(page), sorted_columns(page)) == ("eadcb", [[3, "descending"]])
    assert fragment(page) == "#sort=leaderboard:3:desc"
    page.click(header(3))
    assert (order(page), sorted_columns(page)) == ("cadeb", [[3, "ascending"]])
    assert page.run("return document.getElementById('said').textContent") == "Sorted by task 1 ↑, ascending"
    page.click(header(3))
    assert (order(page), sorted_columns(page), fragment(page)) == ("abcde", [], "")
    assert page.said() == []


def test_keys_sort_too(page: Browser) -> None:
    page.press(header(1), "\ue007")
    assert (order(page), sorted_columns(page)) == ("abcde", [[1, "ascending"]])
    page.press(header(1), " ")
    assert (order(page), sorted_columns(page)) == ("edcba", [[1, "descending"]])


def test_a_link_opens_sorted(page: Browser, address: str) -> None:
    page.open(f"{address}#sort=leaderboard:2:asc,long:2:desc,nothing:1:asc,long:99:asc")
    assert (order(page), sorted_columns(page)) == ("cadeb", [[2, "ascending"]])
    assert page.run("return document.querySelector('#table-long tbody th').textContent") == "row 039"
    assert page.run("return document.querySelector('#table-long').closest('details').open")
    assert page.said() == []


def test_notes_are_shown_on_demand(page: Browser) -> None:
    shown = "return [...document.querySelectorAll('.note')].filter(note => note.offsetHeight > 0).length"
    assert page.run(shown) == 0
    page.click("input[data-notes='table-leaderboard']")
    assert page.run(shown) == 24


def test_a_phone_scrolls_tables_in_their_boxes_and_keeps_the_names(browser: Browser, address: str) -> None:
    look(browser, 360, 740, "light")
    browser.open(address)
    browser.run("document.querySelectorAll('details').forEach(details => { details.open = true })")
    assert browser.run("return document.documentElement.scrollWidth") <= 360
    script = "const box = document.querySelector('#table-leaderboard').parentElement; box.scrollLeft = 300;"
    script += "return [box.scrollLeft, box.querySelector('tbody th').getBoundingClientRect().left]"
    scrolled, left = browser.run(script)
    assert scrolled == 300
    assert 0 <= left < 40


def test_the_dark_page_is_dark_and_its_figures_too(browser: Browser, address: str) -> None:
    look(browser, 1280, 900, "dark")
    browser.open(address)
    assert colour_of(browser, "body", "backgroundColor") == DARK_PAPER
    assert colour_of(browser, "body", "color") == DARK_INK
    for quiet in (".subtitle", ".detail", "nav a", "figcaption", "p a"):
        assert contrast(colour_of(browser, quiet, "color"), DARK_PAPER) >= 4.5, quiet
    assert colour_of(browser, "svg.figure", "fill") == DARK_INK
    # The axes' own background, and the line that is too dark to be seen on it.
    paths = "[...document.querySelectorAll('#lines path:not(.on-colour *)')]"
    fills = browser.run(f"return {paths}.map(path => getComputedStyle(path).fill)")
    assert f"rgb{tuple(int(DARK_PAPER[i : i + 2], 16) for i in (1, 3, 5))}" in fills
    assert "rgb(255, 255, 255)" not in fills
    assert colour_of(browser, "#lines .on-colour g", "fill") == "#ffffff"
    shown = browser.run("return ['.by-day', '.by-night'].map(c => getComputedStyle(document.querySelector(c)).display)")
    assert shown == ["none", "inline"]


def test_quiet_text_can_be_read_in_the_light(page: Browser) -> None:
    for quiet in (".subtitle", ".detail", "nav a", "figcaption", "p a"):
        assert contrast(colour_of(page, quiet, "color"), "#ffffff") >= 4.5, quiet


def test_paper_is_white_and_shows_what_is_folded(browser: Browser, address: str) -> None:
    look(browser, 1000, 900, "dark", media="print")
    browser.open(address)
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    assert colour_of(browser, "body", "backgroundColor") == "#ffffff"
    assert colour_of(browser, "svg.figure", "fill") == colour_of(browser, "body", "color")
    assert browser.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.run("return document.querySelector('#table-long').offsetHeight") > 0
