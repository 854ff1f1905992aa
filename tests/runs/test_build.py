"""From YAML to typed objects: what is refused, and in what words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from siftune.runs.build import ConfigError, build


@dataclass(frozen=True, kw_only=True)
class Inner:
    rank: int = 8


@dataclass(frozen=True, kw_only=True)
class Outer:
    rate: float
    kind: Literal["max", "mean"] = "max"
    names: tuple[str, ...] = ()
    limit: int | None = None
    on: bool = False
    inner: Inner = field(default_factory=Inner)
    by_name: Mapping[str, Inner] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f"rate={self.rate} must be positive")


def test_builds_nested_objects() -> None:
    built = build(Outer, {"rate": 1, "names": ["a"], "inner": {"rank": 4}, "by_name": {"x": {"rank": 2}}})
    assert built == Outer(rate=1.0, names=("a",), inner=Inner(rank=4), by_name={"x": Inner(rank=2)})


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"rate": 1, "limmit": 3}, ["sel.limmit", "Did you mean limit?"]),
        ({"rate": 1, "inner": {"rnk": 3}}, ["sel.inner.rnk", "Did you mean rank?"]),
        ({"rate": "abc"}, ["sel.rate='abc'", "float"]),
        ({"rate": 1, "kind": "men"}, ["sel.kind=men", "Did you mean mean?", "max, mean"]),
        ({"rate": 1, "limit": "many"}, ["sel.limit='many'", "int"]),
        ({"rate": 1, "limit": True}, ["sel.limit=True", "int"]),
        ({"rate": 1, "limit": 1.5}, ["sel.limit=1.5", "int"]),
        ({"rate": 1, "names": "abc"}, ["sel.names='abc'"]),
        ({"rate": 1, "inner": 3}, ["sel.inner=3"]),
        ({"kind": "max"}, ["sel.rate", "missing"]),
        ({"rate": "???"}, ["sel.rate", "must be given"]),
        ({"rate": -1}, ["sel", "rate=-1.0 must be positive"]),
    ],
)
def test_refusals_name_the_key_what_was_given_and_what_is_allowed(node: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        build(Outer, node, "sel")
    for word in words:
        assert word in str(refused.value)


@dataclass(frozen=True, kw_only=True)
class Holder:
    budget: Inner


def test_a_target_of_the_wrong_class_is_refused() -> None:
    node = {"budget": {"_target_": "siftune.selection.interface.Budget", "amount": 3}}
    with pytest.raises(ConfigError, match=r"budget: Budget cannot stand here; expected Inner"):
        build(Holder, node)


def test_a_misspelt_target_is_refused_with_the_nearest_class() -> None:
    node = {"budget": {"_target_": "siftune.selection.interface.Budgett", "amount": 3}}
    with pytest.raises(ConfigError, match="Did you mean Budget"):
        build(Holder, node)
