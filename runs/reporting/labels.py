"""Names beside the points of a plot, none on another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ANGLES = (0, 180, 45, 135, 315, 225, 90, 270)
"""Where a name may stand, in degrees, the best first."""
DISTANCES = (7.0, 16.0, 28.0, 42.0, 58.0, 76.0)
"""How far from its point, in points; further ones get a line to it."""
LINE_FROM = 14.0
MARKER = 5.0
"""Half a marker, in points."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""
Point = tuple[float, float]


@dataclass(frozen=True)
class Named:
    """A point of the data with its name."""

    x: float
    y: float
    name: str
    colour: str


def name_points(axis: Axes, named: Sequence[Named], lines: Sequence[Sequence[Point]] = ()) -> None:
    """Write the names beside their points. The figure must be laid out, and stay so (`freeze`).

    `lines`: what else is drawn, points joined by straight lines, that names keep clear of where they can."""
    from matplotlib.text import Text

    scale = axis.figure.dpi / 72
    marker = MARKER * scale
    places = [tuple(axis.transData.transform((item.x, item.y))) for item in named]
    taken = [(x - marker, y - marker, x + marker, y + marker) for x, y in [*places, *_along(axis, lines, 2 * marker)]]
    frame = axis.get_window_extent()
    inside = (frame.x0, frame.y0, frame.x1, frame.y1)
    for item, place in zip(named, places, strict=True):
        text = axis.annotate(
            item.name, (item.x, item.y), xytext=(0, 0), textcoords="offset points", fontsize=8, color=item.colour,
            ha="left", va="bottom", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": item.colour, "shrinkA": 0, "shrinkB": 3},
        )  # fmt: skip
        # Not the annotation's own extent, which its line belongs to.
        extent = Text.get_window_extent(text)
        size = (extent.width + 2 * scale, extent.height + scale)
        box, distance = _best(place, size, taken, inside, scale)
        taken.append(box)
        text.set_position(((box[0] - place[0] + scale) / scale, (box[1] - place[1] + scale / 2) / scale))
        if distance < LINE_FROM and text.arrow_patch is not None:
            text.arrow_patch.set_visible(False)


def freeze(figure: Figure) -> None:
    """Lay the figure out once and for all, so that places in inches stay what they are."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def _along(axis: Axes, lines: Sequence[Sequence[Point]], step: float) -> list[Point]:
    """Places on the screen along the lines, so far apart; of a line of one point that point."""
    found: list[Point] = []
    for line in lines:
        ends = [tuple(axis.transData.transform(point)) for point in line]
        found.append(ends[0])
        for one, other in pairwise(ends):
            parts = max(1, round(math.dist(one, other) / step))
            found += [
                (one[0] + (other[0] - one[0]) * part / parts, one[1] + (other[1] - one[1]) * part / parts)
                for part in range(1, parts + 1)
            ]
    return found


def _best(
    place: tuple[float, float], size: tuple[float, float], taken: Sequence[Box], inside: Box, scale: float
) -> tuple[Box, float]:
    """The box that covers least of what is taken, the nearest of equals; and its distance in points."""
    candidates = [
        (_box(place, size, angle, distance * scale), distance, number)
        for distance in DISTANCES
        for number, angle in enumerate(ANGLES)
    ]

    def cost(candidate: tuple[Box, float, int]) -> tuple[int, float, int]:
        box, distance, number = candidate
        outside = size[0] * size[1] - _common(box, inside)
        return round(sum(_common(box, other) for other in taken) + 2 * outside), distance, number

    box, distance, _ = min(candidates, key=cost)
    return box, distance


def _box(place: tuple[float, float], size: tuple[float, float], angle: float, distance: float) -> Box:
    """The box of this size whose nearest edge or corner lies in this direction at this distance."""
    across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    left = place[0] + across * distance - size[0] * (1 - _sign(across)) / 2
    bottom = place[1] + up * distance - size[1] * (1 - _sign(up)) / 2
    return left, bottom, left + size[0], bottom + size[1]


def _sign(value: float) -> int:
    return 0 if abs(value) < 0.1 else 1 if value > 0 else -1


def _common(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
