"""Scores of the text alone, worked out by hand."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest

from siftune.selection.features.scorers.scorer import Scorer
from siftune.selection.features.scorers.text_scores import CompressionScorer, LengthScorer
from siftune.selection.pool.rows import Row


def row(*turns: str) -> Row:
    roles = ("user", "assistant")
    return Row(
        id="x", source="made", messages=[{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]
    )


ROWS = [row("What is it?", "A café,\n  open now"), row("q", "a"), row("1 2", "3", "4 5 6", "7 8")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("response", [[18, 4], [1, 1], [3, 2]]),
        ("prompt", [[11, 3], [1, 1], [13, 6]]),
        ("conversation", [[31, 7], [4, 2], [18, 8]]),
    ],
)
def test_lengths_are_characters_and_words(text: Any, expected: list[list[int]]) -> None:
    told: list[int] = []
    scorer = LengthScorer(name="length", text=text)
    block = scorer.open(None).score(ROWS, told.append)
    assert block.values.tolist() == expected
    assert scorer.provides == ("characters", "words")
    assert told == [3]
    assert (block.reasons, block.tokens, block.positions, block.truncated) == ({}, 0, 0, 0)


def test_compression_is_the_ratio_that_zlib_reaches() -> None:
    repeats, mixed = row("say it again", "again " * 500), row("say é", "".join(map(chr, range(33, 120))))
    values = CompressionScorer(name="compression").open(None).score([repeats, mixed, *ROWS]).values[:, 0]
    for value, text in zip(values, ("say it again\n\n" + "again " * 500, "say é\n\n" + mixed.response()), strict=False):
        content = text.encode()
        assert value == len(content) / len(zlib.compress(content, 9))
    assert values[0] > 50
    assert values[1] < 1


def test_text_that_is_not_there_has_no_ratio_and_no_length() -> None:
    opening = Row(id="x", source="made", messages=[{"role": "assistant", "content": "hello"}])
    block = CompressionScorer(name="compression", text="prompt").open(None).score([opening, ROWS[0]])
    assert np.isnan(block.values[:, 0]).tolist() == [True, False]
    assert block.reasons == {0: "no text to compress"}
    assert LengthScorer(name="length", text="prompt").open(None).score([opening]).values.tolist() == [[0, 0]]


def test_configs_are_scorers_without_a_model() -> None:
    for config in (LengthScorer(name="length"), CompressionScorer(name="compression")):
        assert isinstance(config, Scorer)
        assert config.model is None
        assert config.inputs() == {}
        assert config.only(["words"]) is config
