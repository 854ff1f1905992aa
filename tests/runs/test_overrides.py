"""Values spelt in Hydra's grammar come back as they were."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from siftune.runs.overrides import changes, differences, spelt

CLASSES = {"Farthest": "siftune.selection.methods.farthest.Farthest"}


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "two words",
        "0:16",
        "it's",
        'say "yes"',
        "back\\slash",
        'end\\"',
        "trailing\\",
        "",
        "null",
        "True",
        "5",
        "a=b,c",
        "/a/path/file.jsonl.gz",
        5,
        0.0005,
        1e-7,
        1 / 3,
        128.0,
        True,
        None,
        ["a", "b c", 3],
        {"flan": 2, "cot": [1, None]},
        [],
        {},
    ],
    ids=repr,
)
def test_what_is_spelt_is_read_back(value: Any) -> None:
    parsed = OverridesParser.create().parse_override(f"key={spelt(value, CLASSES)}").value()
    assert _bare(parsed) == value


def test_a_class_is_spelt_with_its_path() -> None:
    assert spelt({"class": "Farthest", "x": 1}, CLASSES) == "{_target_:siftune.selection.methods.farthest.Farthest,x:1}"


def test_changes_set_replace_add_and_remove() -> None:
    node = {"seed": 0, "pool": {"_target_": "m.File", "path": "???", "rows": None}, "tasks": {"a": 1, "b": 2}}
    node |= {"method": {"_target_": "m.Random"}}
    wanted = {"seed": 3, "pool": {"class": "File", "path": "x.jsonl", "rows": None, "younger": 1}}
    wanted |= {"tasks": {"b": 2, "c": 3}, "method": {"class": "Farthest"}}
    assert changes(node, wanted, CLASSES) == [
        "seed=3",
        "pool.path=x.jsonl",
        "~tasks.a",
        "+tasks.c=3",
        "method={_target_:siftune.selection.methods.farthest.Farthest}",
    ]


def test_a_field_that_a_record_does_not_know_is_no_difference() -> None:
    typed = {"budget": {"class": "Budget", "amount": 2, "young": True}, "tasks": {"a": 1}, "output": None}
    assert differences(typed, {"budget": {"class": "Budget", "amount": 2.0}, "tasks": {"a": 1}}) == {}
    assert differences(typed, {"budget": {"class": "Budget", "amount": 3}, "tasks": {}}) == {
        "budget.amount": "3",
        "tasks.a": "null",
    }


def _bare(value: Any) -> Any:
    from hydra.core.override_parser.types import QuotedString

    if isinstance(value, dict):
        return {str(_bare(key)): _bare(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_bare(item) for item in value]
    return value.text if isinstance(value, QuotedString) else value
