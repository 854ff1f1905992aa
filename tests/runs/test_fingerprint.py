"""Fingerprints: what counts as the same computation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from siftune.runs.fingerprint import fingerprint, identity, plain


@dataclass(frozen=True)
class Settings:
    depth: int = 2
    rate: float = 1.0
    folder: Path = field(default=Path("here"), metadata={"identity": False})


def test_paths_and_other_marked_fields_do_not_count() -> None:
    here, there = Settings(folder=Path("here")), Settings(folder=Path("there"))
    assert fingerprint(version=1, config=here, inputs={}) == fingerprint(version=1, config=there, inputs={})


@pytest.mark.parametrize(
    ("version", "config", "inputs"),
    [(2, Settings(), {"pool": "a"}), (1, Settings(depth=3), {"pool": "a"}), (1, Settings(), {"pool": "b"})],
)
def test_version_config_and_inputs_count(version: int, config: Settings, inputs: dict[str, str]) -> None:
    before = fingerprint(version=1, config=Settings(), inputs={"pool": "a"})
    assert fingerprint(version=version, config=config, inputs=inputs) != before


def test_is_the_same_on_every_machine() -> None:
    assert fingerprint(version=1, config=Settings(), inputs={"pool": "a"}) == "f97611e458fe3815"


def test_two_classes_with_equal_fields_differ() -> None:
    @dataclass(frozen=True)
    class Other:
        depth: int = 2
        rate: float = 1.0

    assert identity(Other()) != identity(Settings())


def test_whole_floats_equal_integers() -> None:
    assert identity({"amount": 1000.0}) == identity({"amount": 1000})


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), float("inf"), Path("x"), {1: "x"}, len])
def test_values_without_a_stable_form_are_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        identity(value)


def test_plain_keeps_what_identity_leaves_out() -> None:
    assert plain(Settings(folder=Path("there")))["folder"] == "there"
