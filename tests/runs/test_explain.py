"""The help: every setting with its value and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from siftune.runs.explain import field_meanings, settings


@dataclass(frozen=True, kw_only=True)
class Base:
    name: str = "x"
    """What it is called."""


@dataclass(frozen=True, kw_only=True)
class Inner(Base):
    rank: int = 8
    """Rank of the update
    of a matrix."""
    silent: bool = False


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner | None = None
    """Not shown where it is set: its fields are."""
    tasks: Mapping[str, Inner] = field(default_factory=dict)
    """Name -> task."""


def test_meanings_come_from_the_class_and_those_it_extends() -> None:
    assert field_meanings(Inner) == {"name": "What it is called.", "rank": "Rank of the update of a matrix."}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (
            {"inner": {"rank": 4, "silent": True}},
            [("inner.rank", "4", "Rank of the update of a matrix."), ("inner.silent", "true", "")],
        ),
        ({"inner": None}, [("inner", "null", "Not shown where it is set: its fields are.")]),
        ({"tasks": {"a": {"rank": 1}, "b": {}}}, [("tasks", "{a, b}", "Name -> task.")]),
        (
            {"tasks": {"a": {"rank": "???"}}},
            [("tasks", "{a}", "Name -> task."), ("tasks.a.rank", "???", "Must be given.")],
        ),
    ],
)
def test_settings_are_listed_down_to_plain_values(node: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    assert list(settings(Outer, node)) == expected
