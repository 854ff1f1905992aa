"""Numbers as people read them."""

from __future__ import annotations

import pytest

from siftune.runs.planning.table import ranges
from siftune.runs.units import in_bytes, in_time, short


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (999.7, "1.00k"),
        (1234, "1.23k"),
        (99_960, "100k"),
        (999_600, "1.00M"),
        (12_345_678, "12.3M"),
        (3.7e15, "3.70P"),
    ],
)
def test_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert short(value) == text


def test_bytes_have_their_unit() -> None:
    assert (in_bytes(12), in_bytes(1_500_000_000)) == ("12 B", "1.50 GB")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "<1 s"),
        (1.2, "1 s"),
        (59, "59 s"),
        (90, "1.5 min"),
        (1800, "30 min"),
        (5400, "1.5 h"),
        (100_000, "28 h"),
        (200_000, "2.3 d"),
    ],
)
def test_times_are_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert in_time(seconds) == text


@pytest.mark.parametrize(
    ("numbers", "text"), [((), ""), ((0,), "1"), ((0, 1, 2, 5), "1-3,6"), ((4, 2), "3,5"), ((0, 1), "1-2")]
)
def test_places_are_joined_to_runs(numbers: tuple[int, ...], text: str) -> None:
    assert ranges(numbers) == text
