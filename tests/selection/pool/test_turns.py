"""Conversations as answered turns, and one arithmetic for scores that each turn has."""

from __future__ import annotations

import pytest

from siftune.selection.pool.annotations import read_annotations
from siftune.selection.pool.turns import Turn, deita, over_turns, turns_of


def said(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [{"role": roles[role], "content": content} for role, content in pairs]


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        (said(("s", "be brief"), ("u", "q"), ("a", "r")), [("q", "r")]),
        (said(("u", "q"), ("a", "r"), ("u", "and?"), ("a", "so")), [("q", "r"), ("and?", "so")]),
        (said(("u", "q"), ("a", "r"), ("u", "thanks")), [("q", "r")]),
        (said(("u", "q"), ("u", "in short"), ("a", "r"), ("a", "more")), [("q\n\nin short", "r\n\nmore")]),
        (said(("u", "q"), ("a", ""), ("t", "42"), ("a", "it is 42"), ("u", "ok")), [("q", "it is 42")]),
        (said(("a", "hello"), ("u", "q"), ("a", "r")), [("q", "r")]),
        (said(("a", "hello")), []),
    ],
)
def test_turns_are_what_a_user_says_and_what_answers_it(
    messages: list[dict[str, str]], turns: list[tuple[str, str]]
) -> None:
    assert turns_of(messages) == [Turn(query, response) for query, response in turns]


def test_reductions_are_those_of_annotated_pools() -> None:
    quality, complexity = [3.0, 5.0], [2.0, 4.0]
    assert over_turns(quality, "mean") == 4.0
    assert over_turns(quality, "sum") == 8.0
    assert deita(quality, complexity, "mean") == 13.0
    assert deita(quality, complexity, "sum") == 26.0
    annotated = {"quality": quality, "complexity": complexity}
    assert read_annotations(annotated, "sum").scores == {"quality": 4.0, "complexity": 3.0, "deita": 26.0}
    assert read_annotations(annotated, "mean").scores["deita"] == 13.0
