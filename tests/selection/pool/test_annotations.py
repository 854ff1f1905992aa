from __future__ import annotations

from typing import Any

import pytest

from siftune.selection.pool.annotations import read_annotations
from siftune.selection.pool.formats import RowError

DEITA = {"quality_scores": [3.0, 5.0], "complexity_scores": [2.0, 4.0]}


@pytest.mark.parametrize(
    "value",
    [
        {"annotation": {"instag": {"content": ["math", "code"], "versions": [1, 1]}, "deita": DEITA}},
        {"annotation": {"instag": ["math", "code", "math"], "deita": DEITA}},
        {"annotation.instag": ["math", "code"], "annotation.deita": DEITA},
        {
            "annotation.instag.content": ["math", "code"],
            "annotation.deita.quality_scores": [3.0, 5.0],
            "annotation.deita.complexity_scores": [2.0, 4.0],
        },
        {"tags": ["math", "code"], "quality": [3.0, 5.0], "complexity": [2.0, 4.0]},
    ],
)
def test_tags_and_scores_in_every_spelling(value: dict[str, Any]) -> None:
    found = read_annotations(value, "mean")
    assert found.tags == ("math", "code")
    assert found.scores == {"quality": 4.0, "complexity": 3.0, "deita": 13.0}  # (3 * 2 + 5 * 4) / 2
    assert found.used == set(value)
    assert found.rest == {}


def test_deita_adds_turns_up() -> None:
    scores = read_annotations({"annotation": {"deita": DEITA}}, "sum").scores
    assert scores == {"quality": 4.0, "complexity": 3.0, "deita": 26.0}


def test_one_number_a_row() -> None:
    value = {"annotation": {"deita": {"quality": 3, "complexity": 2.5}}}
    assert read_annotations(value, "mean").scores == {"quality": 3.0, "complexity": 2.5, "deita": 7.5}
    assert read_annotations({"quality": 3}, "mean").scores == {"quality": 3.0}


def test_the_rest_of_an_annotation_is_kept() -> None:
    value = {"annotation": {"CaR": [1.5], "instag": ["a"]}, "ifd_score": {"version": 1, "content": 0.75}}
    found = read_annotations(value, "mean")
    assert (found.rest, found.scores, found.used) == ({"CaR": [1.5]}, {"ifd": 0.75}, {"annotation", "ifd_score"})


def test_siftunes_own_scores_are_read_back_and_win() -> None:
    found = read_annotations(
        {"scores": {"deita": 9.0, "ifd": None, "x": float("nan")}, "quality": 2, "complexity": 3}, "mean"
    )
    assert found.scores == {"quality": 2.0, "complexity": 3.0, "deita": 9.0}


def test_columns_of_the_same_name_and_another_meaning_are_left_alone() -> None:
    value = {
        "quality": "good",
        "complexity": True,
        "tags": "a, b",
        "scores": [1],
        "ifd_score": "?",
        "annotation": "none",
    }
    found = read_annotations(value, "mean")
    assert (found.tags, found.scores, found.used) == ((), {}, set())


@pytest.mark.parametrize("annotation", [None, {}, {"instag": None, "deita": None}, {"deita": {}}])
def test_no_annotation_is_no_score(annotation: Any) -> None:
    found = read_annotations({"annotation": annotation}, "mean")
    assert (found.tags, found.scores) == ((), {})


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"instag": "math"}, "instag is not a list of strings"),
        ({"deita": [1.0]}, "deita is not an object"),
        ({"deita": {"quality_scores": ["3"]}}, "the quality is neither a number nor a list of numbers"),
        ({"deita": {"quality_scores": [1, 2], "complexity_scores": [1]}}, "2 quality scores and 1 complexity scores"),
    ],
)
def test_a_broken_annotation_is_refused(annotation: Any, reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        read_annotations({"annotation": annotation}, "mean")
