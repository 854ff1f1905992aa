"""Figures as SVG inside a page, whose text, axes and background follow the page's colours."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from siftune.runs.reporting.page_colours import in_the_dark, is_grey

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure
    from matplotlib.text import Text

MANY_POINTS = 500
"""Scatters of more points become an image inside the SVG: each would be an element."""
IMAGE_DPI = 160
ON_COLOUR = "on-colour"
"""Id of a text that stands on a coloured area, which stays as it is on a dark page: so must the text."""
_COLOUR = re.compile(r"#[0-9a-f]{6}\b", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_SHORTENED = ("d", "x", "y")
_LOCAL = re.compile(r"url\(#([^)]+)\)")


def inline_svg(figure: Figure, name: str, described_by: str) -> str:
    """The figure as an `svg` element. Its ids begin with `name`; `described_by` is the id of its caption.

    Colours that a dark page changes are variables, `var(--c-0072b2)`: `stylesheet` defines those of a whole page."""
    scatters = [found for axes in figure.axes for found in _scatters(axes)]
    for scatter in scatters:
        scatter.set_rasterized(True)
    with _marked_texts(figure):
        tree = _drawn(figure, name)
        if scatters:
            with _dark(scatters):
                _add_dark_images(tree, _drawn(figure, name))
    _own_ids(tree, name)
    _with_variables(tree)
    _shorten(tree)
    width, height = (float(size) for size in tree.attrib["viewBox"].split()[2:])
    # A point of matplotlib's is 4/3 of a page's pixel.
    tree.attrib = {
        "viewBox": tree.attrib["viewBox"],
        "class": "figure",
        "role": "img",
        "aria-labelledby": described_by,
        "style": f"--width: {width * 4 / 3:.0f}px; aspect-ratio: {width:.1f} / {height:.1f}",
    }
    return ElementTree.tostring(tree, encoding="unicode")


def stylesheet(page: str) -> str:
    """Definitions of the colour variables that the page uses, for light and dark."""
    colours = sorted(set(re.findall(r"var\(--c-([0-9a-f]{6})\)", page)))
    light = "".join(f"--c-{colour}:#{colour};" for colour in colours)
    dark = "".join(f"--c-{colour}:{in_the_dark('#' + colour)};" for colour in colours)
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}"


def _drawn(figure: Figure, name: str) -> ElementTree.Element:
    """Its SVG, without namespaces, metadata and styles of its own."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    # Text as paths looks the same everywhere: no phone has the font that the figure was laid out with.
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", dpi=IMAGE_DPI, facecolor="none", metadata={"Date": None})
    tree = ElementTree.fromstring(buffer.getvalue())
    for element in tree.iter():
        element.tag = _bare(element.tag)
        element.attrib = {_bare(key): value for key, value in element.attrib.items()}
        element.text = element.tail = None
    for parent in tree.iter():
        for child in [child for child in parent if child.tag in ("metadata", "style")]:
            parent.remove(child)
    return tree


def _bare(name: str) -> str:
    return name.rpartition("}")[2]


def _own_ids(tree: ElementTree.Element, name: str) -> None:
    """Ids that nothing refers to go, the others become short and unique in a page."""
    referred = [part for element in tree.iter() for value in element.attrib.values() for part in _references(value)]
    own = {identifier: f"{name}.{number}" for number, identifier in enumerate(dict.fromkeys(referred))}
    for element in tree.iter():
        identifier = element.attrib.pop("id", "")
        if identifier.startswith(ON_COLOUR):
            element.set("class", ON_COLOUR)
        elif identifier in own:
            element.set("id", own[identifier])
        for key, value in element.attrib.items():
            if key == "href" and value.startswith("#"):
                element.set(key, f"#{own[value[1:]]}")
            elif "url(#" in value:
                element.set(key, _LOCAL.sub(lambda found: f"url(#{own[found[1]]})", value))


def _references(value: str) -> list[str]:
    return [value[1:]] if value.startswith("#") else _LOCAL.findall(value)


def _with_variables(element: ElementTree.Element) -> None:
    if element.get("class") == ON_COLOUR:
        return
    if "style" in element.attrib:
        element.set("style", _COLOUR.sub(_variable, element.attrib["style"]))
    for child in element:
        _with_variables(child)


def _shorten(tree: ElementTree.Element) -> None:
    """Hundredths of a point are enough."""
    for element in tree.iter():
        for key in element.attrib.keys() & _SHORTENED:
            text = " ".join(element.attrib[key].split())
            element.set(key, _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}", text))


def _variable(found: re.Match[str]) -> str:
    colour = found[0].lower()
    return colour if in_the_dark(colour) == colour else f"var(--c-{colour[1:]})"


@contextmanager
def _marked_texts(figure: Figure) -> Iterator[None]:
    figure.draw_without_rendering()
    # What is laid out need not be so again at each drawing.
    figure.set_layout_engine("none")
    texts = [text for axes in figure.axes for text in axes.texts if _is_on_colour(text, axes)]
    before = [text.get_gid() for text in texts]
    for number, text in enumerate(texts):
        text.set_gid(f"{ON_COLOUR}-{number}")
    yield
    for text, gid in zip(texts, before, strict=True):
        text.set_gid(gid)


def _is_on_colour(text: Text, axes: Axes) -> bool:
    from matplotlib.collections import QuadMesh
    from matplotlib.colors import to_hex, to_rgba

    box = text.get_window_extent()
    centre = (box.x0 + box.width / 2, box.y0 + box.height / 2)
    meshes = [found for found in axes.collections if isinstance(found, QuadMesh)]
    if any(picture.get_window_extent().contains(*centre) for picture in [*axes.images, *meshes]):
        return True
    areas = [patch for patch in axes.patches if patch.get_fill() and to_rgba(patch.get_facecolor())[3] > 0.5]
    return any(not is_grey(to_hex(patch.get_facecolor())) and patch.contains_point(centre) for patch in areas)


def _scatters(axes: Axes) -> list[PathCollection]:
    from matplotlib.collections import PathCollection

    found = [one for one in axes.collections if isinstance(one, PathCollection)]
    return [one for one in found if one.get_rasterized() or np.shape(one.get_offsets())[0] > MANY_POINTS]


@contextmanager
def _dark(scatters: list[PathCollection]) -> Iterator[None]:
    """Their colours as on a dark page; not where a colour map makes them."""
    from matplotlib.colors import to_hex, to_rgba, to_rgba_array

    plain = [scatter for scatter in scatters if scatter.get_array() is None]
    before = [(scatter.get_facecolor(), scatter.get_edgecolor()) for scatter in plain]
    dark = functools.cache(in_the_dark)

    def darkened(colours: Any) -> list[tuple[float, float, float, float]]:
        return [to_rgba(dark(to_hex(rgba)), rgba[3]) for rgba in to_rgba_array(colours)]

    for scatter, (faces, edges) in zip(plain, before, strict=True):
        scatter.set_facecolor(darkened(faces))
        scatter.set_edgecolor(darkened(edges))
    yield
    for scatter, (faces, edges) in zip(plain, before, strict=True):
        scatter.set_facecolor(faces)
        scatter.set_edgecolor(edges)


def _add_dark_images(tree: ElementTree.Element, dark: ElementTree.Element) -> None:
    """Beside each image that is another one in the dark, that one."""
    pairs = [(parent, child) for parent in tree.iter() for child in parent if child.tag == "image"]
    for (parent, by_day), by_night in zip(pairs, dark.iter("image"), strict=True):
        if by_day.attrib["href"] != by_night.attrib["href"]:
            by_day.set("class", "by-day")
            by_night.set("class", "by-night")
            parent.insert(list(parent).index(by_day) + 1, by_night)
