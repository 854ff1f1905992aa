"""Normalised tags, worked out by hand: spellings, frequencies, groups of near-synonyms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siftune.selection.features.taggers.tag_normalisation import TagNormalisation, fold, group_tags, write_mapping

KINDS = pa.list_(pa.string())


def never(names: Sequence[str]) -> np.ndarray:
    raise AssertionError(f"{names} were to be embedded")


def at_angles(degrees: dict[str, float]) -> object:
    """An encoder that lays tags at these angles: cosine distance 1 - cos(difference)."""

    def embed(names: Sequence[str]) -> np.ndarray:
        angles = np.radians([degrees[name] for name in names])
        return np.column_stack([np.cos(angles), np.sin(angles)])

    return embed


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("Data Analysis", "data analysis"),
        ("  data-analysis!", "data analysis"),
        ("data_analysis", "data analysis"),
        ("C++", "c++"),
        ("C# programming", "c# programming"),
        ("#hash + sum", "hash sum"),
        ("ﬁle", "file"),
        ("Größe", "größe"),
        ("—…!", ""),
    ],
)
def test_spellings_fold(raw: str, plain: str) -> None:
    assert fold(raw) == plain


def test_spellings_count_together_before_rare_tags_are_dropped() -> None:
    lists = pa.array([["math", "sql"], ["Math!", "a-b"], ["MATH", "math"], ["a b", "—"], []], KINDS)
    new, fates = group_tags(lists, TagNormalisation(min_rows=2, eps=None), never)
    assert list(new) == [("math",), ("math", "a b"), ("math",), ("a b",), ()]
    assert [(fate.raw, fate.rows, fate.tag) for fate in fates] == [
        ("MATH", 1, "math"),
        ("Math!", 1, "math"),
        ("a b", 1, "a b"),
        ("a-b", 1, "a b"),
        ("math", 2, "math"),
        ("sql", 1, None),
        ("—", 1, None),
    ]
    why = {fate.raw: fate.why for fate in fates}
    assert why["math"] is None
    assert why["MATH"] == "spelling"
    assert why["sql"] == "in 1 rows, fewer than min_rows=2"
    assert why["—"] == "nothing but punctuation"


def test_near_tags_take_the_name_of_the_most_frequent_and_chains_join() -> None:
    """1 - cos(10 degrees) = 0.015, of 20 degrees 0.060: with eps 0.02 only neighbours at 10 degrees are near."""
    lists = pa.array([["a", "b"], ["c", "b"], ["c", "z"], ["d"], ["e", "d"], ["e"]], KINDS)
    embed = at_angles({"a": 0, "b": 10, "c": 20, "d": 60, "e": 65, "z": 120})
    new, fates = group_tags(lists, TagNormalisation(min_rows=1, eps=0.02), embed)  # type: ignore[arg-type]
    # a, b, c are a chain; b and c are in two rows each: b comes first. d and e likewise: d.
    assert list(new) == [("b",), ("b",), ("b", "z"), ("d",), ("d",), ("d",)]
    assert {fate.raw: fate.tag for fate in fates} == {"a": "b", "b": "b", "c": "b", "d": "d", "e": "d", "z": "z"}
    assert next(fate.why for fate in fates if fate.raw == "c") == "within eps=0.02 of its group"


def test_only_tags_that_are_kept_are_embedded_in_alphabetical_order() -> None:
    asked: list[list[str]] = []

    def embed(names: Sequence[str]) -> np.ndarray:
        asked.append(list(names))
        return np.eye(len(names))

    lists = pa.array([["x", "rare", "B"], ["x", "b"], ["a"], ["a", "x"]], KINDS)
    group_tags(lists, TagNormalisation(min_rows=2, eps=0.05), embed)
    assert asked == [["a", "b", "x"]]


def test_without_folding_tags_are_told_apart_as_they_were_written() -> None:
    lists = pa.array([["A", "a"], ["A"]], KINDS)
    new, _ = group_tags(lists, TagNormalisation(fold=False, min_rows=1, eps=None), never)
    assert list(new) == [("A", "a"), ("A",)]


def test_a_threshold_that_leaves_no_tag_is_refused_with_the_remedy() -> None:
    lists = pa.array([["a"], ["a", "b"]], KINDS)
    with pytest.raises(ValueError, match=r"min_rows=20 leaves none of 2 tags.*in 2 rows.*lower"):
        group_tags(lists, TagNormalisation(), never)


def test_no_tags_at_all_stay_none() -> None:
    new, fates = group_tags(pa.array([[], []], KINDS), TagNormalisation(), never)
    assert (list(new), fates) == ([(), ()], [])


@given(st.lists(st.lists(st.sampled_from(["a", "A", "b", "B!", "c", "d"]), unique=True), min_size=1, max_size=12))
def test_rows_have_what_the_mapping_says(rows: list[list[str]]) -> None:
    embed = at_angles({"a": 0, "b": 5, "c": 80, "d": 160})
    new, fates = group_tags(pa.array(rows, KINDS), TagNormalisation(min_rows=1, eps=0.05), embed)  # type: ignore[arg-type]
    becomes = {fate.raw: fate.tag for fate in fates}
    assert list(new) == [tuple(dict.fromkeys(str(becomes[tag]) for tag in row)) for row in rows]


def test_the_mapping_is_a_line_a_raw_tag(tmp_path: Path) -> None:
    _, fates = group_tags(pa.array([["Größe", "b"], ["b"]], KINDS), TagNormalisation(min_rows=2, eps=None), never)
    write_mapping(tmp_path, fates)
    lines = [json.loads(line) for line in (tmp_path / "mapping.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines[0] == {"raw": "Größe", "rows": 1, "tag": None, "why": "in 1 rows, fewer than min_rows=2"}
    assert lines[1] == {"raw": "b", "rows": 2, "tag": "b", "why": None}


@pytest.mark.parametrize(("key", "value"), [("min_rows", 0), ("eps", 0.0), ("eps", 1.5)])
def test_impossible_settings_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"tagger.normalise.{key}={value}"):
        TagNormalisation(**{key: value})  # type: ignore[arg-type]
