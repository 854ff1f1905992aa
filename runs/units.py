"""Large numbers, as people read them."""

from __future__ import annotations

_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_TIMES = ((60.0, 1.0, "s"), (3600.0, 60.0, "min"), (48 * 3600.0, 3600.0, "h"), (float("inf"), 86400.0, "d"))
"""(below so many seconds, seconds of the unit, its name)"""


def short(value: float) -> str:
    """Three digits and a prefix: 1234567 is 1.23M."""
    power = 0
    while abs(value) >= 999.5 and power < len(_PREFIXES) - 1:
        value, power = value / 1000, power + 1
    digits = 0 if power == 0 or abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{digits}f}{_PREFIXES[power]}"


def in_bytes(value: float) -> str:
    """The same with its unit: 1.23 MB."""
    text = short(value)
    return f"{text[:-1]} {text[-1]}B" if text[-1].isalpha() else f"{text} B"


def in_time(seconds: float) -> str:
    """In the unit that fits: <1 s, 45 s, 12 min, 3.5 h, 2.1 d."""
    if seconds < 1:
        return "<1 s"
    _, unit, name = next(line for line in _TIMES if seconds < line[0])
    value = seconds / unit
    return f"{value:.0f} {name}" if unit == 1 or value >= 9.95 else f"{value:.1f} {name}"
