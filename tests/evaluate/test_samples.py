"""Records of documents: which document a line is of, what its answer counts for, what the model said."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from siftune.evaluate.samples import (
    Identity,
    NotPerDocumentError,
    SampleError,
    answer_of,
    output_of,
    read_answers,
    read_sample,
    target_of,
)


def line(**changes: Any) -> dict[str, Any]:
    return {
        "task": "sums",
        "doc_id": 0,
        "target": "3",
        "arguments": [["What is 1 + 2?", {"until": ["\n"]}]],
        "resps": [["It is 3."]],
        "filtered_resps": ["3"],
        "filter": "none",
        "doc_hash": "d0",
        "prompt_hash": "p0",
        "target_hash": "t0",
        "acc": 1.0,
    } | changes


def write(folder: Path, *lines: dict[str, Any]) -> Path:
    path = folder / "sums.jsonl"
    path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in lines), encoding="utf-8")
    return path


def measured(folder: Path, metric: str, value: Any) -> tuple[float, float]:
    (answer,) = read_answers(write(folder, line(**{metric: value})), metric, "none").values()
    return answer.value, answer.weight


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("acc", 1, (1.0, 1.0)),
        ("acc", True, (1.0, 1.0)),
        ("f1", 0.25, (0.25, 1.0)),
        ("nats_per_byte", [9.5, 2], (9.5, 2.0)),
        ("bits_per_byte", [-9.5, 2], (9.5, 2.0)),
        ("perplexity", -1.5, (1.5, 1.0)),
        ("inst_level_strict_acc", [True, False, True], (2.0, 3.0)),
    ],
)
def test_what_an_answer_counts_for(tmp_path: Path, metric: str, value: Any, expected: tuple[float, float]) -> None:
    assert measured(tmp_path, metric, value) == expected


def test_corpus_metrics_of_one_text(tmp_path: Path) -> None:
    assert measured(tmp_path, "chrf", ["the cat sat", "the cat sat"]) == (pytest.approx(100.0), 1.0)
    # One edit on three words.
    assert measured(tmp_path, "ter", ["the cat sat", "the cat sits"]) == (pytest.approx(100 / 3), 1.0)


def test_a_metric_of_all_documents_together_has_none_for_one(tmp_path: Path) -> None:
    with pytest.raises(NotPerDocumentError, match="mcc is computed from all documents together"):
        measured(tmp_path, "mcc", [1, 0])


def test_lines_of_another_filter_are_passed_over_and_repeats_told_apart(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        line(filter="strict", acc=0.0),
        line(doc_id=1, doc="ü"),
        line(doc_id=2, acc=0.0),
        line(doc_id=3, doc_hash="d3"),
    )
    found = read_answers(path, "acc", "none")
    assert {key: answer.value for key, answer in found.items()} == {
        Identity("sums", "d0", "t0", 0): 1.0,
        Identity("sums", "d0", "t0", 1): 0.0,
        Identity("sums", "d3", "t0", 0): 1.0,
    }
    assert [read_sample(path, answer.offset)["doc_id"] for answer in found.values()] == [1, 2, 3]


def test_requests_tell_other_options_apart(tmp_path: Path) -> None:
    one, other = (
        next(iter(read_answers(write(tmp_path, line(arguments=[["Q", {"until": [end]}]])), "acc", "none").values()))
        for end in ("\n", "\n\n")
    )
    assert one.prompt == other.prompt
    assert one.request != other.request


@pytest.mark.parametrize(
    ("metric", "filter_name", "words"),
    [("f1", "none", "no document with 'f1'"), ("acc", "strict", "after the filter 'strict'")],
)
def test_what_is_not_there_is_named(tmp_path: Path, metric: str, filter_name: str, words: str) -> None:
    with pytest.raises(SampleError, match=words):
        read_answers(write(tmp_path, line()), metric, filter_name)


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match=r"nowhere\.jsonl does not exist"):
        read_answers(tmp_path / "nowhere.jsonl", "acc", "none")
    with pytest.raises(SampleError, match="a line has no 'filter'"):
        read_answers(write(tmp_path, {"a": 1}), "acc", "none")
    (tmp_path / "sums.jsonl").write_text("{\n")
    with pytest.raises(SampleError, match=r"sums.jsonl is not a file of lm-eval's samples"):
        read_answers(tmp_path / "sums.jsonl", "acc", "none")


def test_outputs() -> None:
    written = line()
    assert (output_of(written, "acc"), answer_of(written), target_of(written)) == ("It is 3.", "3", "3")
    # The first option is likelier as a whole, the second letter by letter: -4 / 2 against -6 / 6.
    chosen = line(
        target=1,
        arguments=[["Q", " no"], ["Q", " indeed"]],
        resps=[[[-4.0, False]], [[-6.0, False]]],
        filtered_resps=[[-4.0, False], [-6.0, False]],
    )
    assert output_of(chosen, "acc") == "no"
    assert output_of(chosen, "acc_norm") == "indeed"
    assert (answer_of(chosen), target_of(chosen)) == (None, "indeed")
    read = line(arguments=[["text", [[0, 4]]]], resps=[[[math.pi, 2, False]]], filtered_resps=[[math.pi, 2, False]])
    assert (output_of(read, "nats_per_byte"), answer_of(read)) == (None, None)
