"""Colours of figures on a dark page: greys turn round, what is too dark to be seen gets lighter, the rest stays."""

from __future__ import annotations

DARK_PAPER, DARK_INK = "#14171a", "#e4e7ea"
"""Background and text of the dark page, as page_assets/page.css has them."""
GREYEST = 24
"""Of 255, by which the channels of a colour may differ for it to count as a grey: paper tints do."""
CONTRAST = 3.0
"""With the paper, at the least: what WCAG 2.1 asks of graphics (success criterion 1.4.11)."""


def in_the_dark(colour: str) -> str:
    """What #rrggbb becomes on the dark page."""
    if is_grey(colour):
        lightness = sum(_channels(colour)) / (3 * 255)
        return _mixed(DARK_INK, DARK_PAPER, lightness)
    return next(
        lighter
        for lighter in (_mixed(colour, "#ffffff", share / 20) for share in range(21))
        if contrast(lighter, DARK_PAPER) >= CONTRAST
    )


def is_grey(colour: str) -> bool:
    """Whether #rrggbb is black, white, a grey or a tint of paper."""
    channels = _channels(colour)
    return max(channels) - min(channels) <= GREYEST


def contrast(first: str, second: str) -> float:
    """Of two colours, 1 to 21 (WCAG 2.1)."""
    brighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in _channels(colour))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _mixed(first: str, second: str, share: float) -> str:
    pairs = zip(_channels(first), _channels(second), strict=True)
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
