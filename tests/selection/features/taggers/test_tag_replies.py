"""Replies of tagging models: what is the JSON asked for, and what is told of what is not."""

from __future__ import annotations

import json

import pytest

from siftune.finetune.generate import Reply
from siftune.selection.features.taggers.tag_replies import parse_tags, problem_of


def said(text: str, ended: bool = True) -> Reply:
    return Reply(text, tokens=9, ended=ended)


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ('[{"tag": "Data Analysis", "explanation": "why"}, {"tag": "math"}]', ("data analysis", "math")),
        ('["b", "a"]', ("b", "a")),
        ('{"tag": "one", "explanation": "a single object"}', ("one",)),
        (' \n["  Spread   over\\n lines "]\n', ("spread over lines",)),
        ('["Math", "math ", "MATH", "code"]', ("math", "code")),
        ('```json\n["a",\n "b"]\n```', ("a", "b")),
        ('```\n[{"tag": "a"}]\n```\n', ("a",)),
        ('["größe", "数学"]', ("größe", "数学")),
    ],
)
def test_json_as_asked_for_becomes_tags(text: str, tags: tuple[str, ...]) -> None:
    tagged = parse_tags(said(text))
    assert tagged.tags == tags
    assert tagged.why is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty reply"),
        (" \n", "empty reply"),
        ("[]", "empty list"),
        ("The tags are math and code.", "not JSON"),
        ('Here they are:\n```json\n["a"]\n```', "not JSON"),
        ('[{"tag": "a"}, {"tag": ', "not JSON"),
        ("['a', 'b']", "not JSON"),
        ("12 x 7 = 84", "not JSON"),
        ('["a"] These are the tags.', "words after the JSON"),
        ('{"tag": "a"}\n{"tag": "b"}', "words after the JSON"),
        ('[{"tag": "a"}, {"explanation": "b"}]', "JSON with an entry that names no tag"),
        ('["a", 3]', "JSON with an entry that names no tag"),
        ('["a", " "]', "JSON with an entry that names no tag"),
        ('{"tags": ["a"]}', "JSON with an entry that names no tag"),
        ("7", "JSON with an entry that names no tag"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_anything_else_leaves_the_row_without_tags_and_says_why(text: str, problem: str) -> None:
    tagged = parse_tags(said(text))
    assert tagged.tags == ()
    assert tagged.why is not None
    assert problem_of(tagged.why) == problem
    assert text.strip()[:20] in tagged.why.replace("\\n", "\n").replace("\\'", "'")
    assert len(tagged.why) < 160


def test_a_reply_that_was_cut_is_told_from_one_that_is_wrong() -> None:
    assert problem_of(str(parse_tags(said('["a", "b', ended=False)).why)) == "cut at max_new_tokens"
    # Cut right after its end, it is whole.
    assert parse_tags(said(json.dumps(["a"]), ended=False)).tags == ("a",)
