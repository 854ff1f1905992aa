from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from siftune.selection.pool.rows import row_id
from siftune.selection.pool.source import PoolError
from siftune.selection.pool.store import Pool, PoolSummary

Build = Callable[..., tuple[Pool, PoolSummary]]


def _row(question: str, answer: str = "4", **columns: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **columns}


def _questions(pool: Pool) -> list[str]:
    return [row.messages[0]["content"] for row in pool.rows(range(len(pool)))]


def test_a_pool_gives_back_rows_arrays_and_counts(build: Build) -> None:
    values = [
        _row("a", source="x", tags=["t2", "t1"], quality=2.0, complexity=3.0, skill="sql"),
        _row("bb", source="y", scores={"ifd": 0.5}),
        _row("c", source="x", tags=["t1"], quality=4.0),
    ]
    pool, summary = build(values)
    assert len(pool) == 3
    assert pool.ids.tolist() == [row_id(value["messages"]) for value in values]
    assert pool.sources.tolist() == ["x", "y", "x"]
    assert pool.row(0).tags == ("t2", "t1")
    assert pool.row(0).scores == {"quality": 2.0, "complexity": 3.0, "deita": 6.0}
    assert pool.row(0).extra == {"skill": "sql"}
    assert [row.id for row in pool.rows([2, 0, 2])] == pool.ids[[2, 0, 2]].tolist()
    assert pool.row(np.int64(1)).messages == values[1]["messages"]
    assert summary == PoolSummary(
        rows=3, read=3, duplicates=0, deduplicated=False, quarantined=0, characters=7, sources={"x": 2, "y": 1}
    )


def test_scores_are_arrays_with_nan_where_there_is_none(build: Build) -> None:
    pool, _ = build([_row("a", quality=2.0, complexity=3.0), _row("b"), _row("c", quality=float("inf"))])
    nan = np.nan
    assert list(pool.scores) == ["complexity", "deita", "quality"]
    for name, expected in {"complexity": [3, nan, nan], "deita": [6, nan, nan], "quality": [2, nan, np.inf]}.items():
        assert pool.scores[name].dtype == np.float64
        np.testing.assert_array_equal(pool.scores[name], expected)


def test_tags_are_a_matrix_over_the_sorted_vocabulary(build: Build) -> None:
    pool, _ = build([_row("a", tags=["sql", "maths"]), _row("b"), _row("c", tags=["code", "sql"])])
    tags = pool.tags()
    assert tags is not None
    assert tags[1] == ["code", "maths", "sql"]
    np.testing.assert_array_equal(tags[0].toarray(), [[0, 1, 1], [0, 0, 0], [1, 0, 1]])


def test_a_pool_without_annotations_has_neither_scores_nor_tags(build: Build) -> None:
    pool, _ = build([_row("a"), _row("b")])
    assert (dict(pool.scores), pool.tags()) == ({}, None)


def test_columns(build: Build) -> None:
    pool, _ = build([_row("a", source="x", skill="sql"), _row("b", source="y", level=2)])
    assert pool.column("source").tolist() == ["x", "y"]
    assert pool.column("skill").tolist() == ["sql", None]
    with pytest.raises(PoolError, match="no column 'skil'; it has id, level, skill, source"):
        pool.column("skil")


@pytest.mark.parametrize("index", [-1, 2])
def test_a_row_that_is_not_there(build: Build, index: int) -> None:
    pool, _ = build([_row("a"), _row("b")])
    with pytest.raises(IndexError, match=f"row {index} of a pool of 2 rows"):
        pool.row(index)


def test_a_folder_without_a_pool(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"holds no pool: there is no rows.arrow"):
        Pool.open(tmp_path)


BAD = [{"messages": []}, {"text": b"\x00", "n": float("nan")}, ["list"]]


def test_bad_rows_are_put_aside_with_file_line_and_reason(build: Build, tmp_path: Path) -> None:
    pool, summary = build([_row("a"), *BAD, _row("b")], on_bad_row="quarantine")
    assert _questions(pool) == ["a", "b"]
    assert (summary.read, summary.rows, summary.quarantined) == (5, 2, 3)
    entries = [json.loads(line) for line in (tmp_path / "pool/quarantine.jsonl").read_text().splitlines()]
    assert [(entry["file"], entry["line"]) for entry in entries] == [("list", 2), ("list", 3), ("list", 4)]
    assert [entry["row"] for entry in entries[::2]] == [BAD[0], BAD[2]]
    assert entries[0]["reason"] == "messages is empty"
    build([_row("a"), BAD[0]], on_bad_row="quarantine")
    assert len((tmp_path / "pool/quarantine.jsonl").read_text().splitlines()) == 1
    build([_row("a")], on_bad_row="quarantine")
    assert not (tmp_path / "pool/quarantine.jsonl").exists()


def test_a_bad_row_stops_by_default_and_leaves_no_pool(build: Build, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"^list, line 2: messages is empty\. Mend the row, or .*on_bad_row=quarantine"):
        build([_row("a"), BAD[0]])
    with pytest.raises(PoolError, match="holds no pool"):
        Pool.open(tmp_path / "pool")


@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        ([], {}, "there is no record to read"),
        ([_row("a")], {"rows": "1:"}, r"there is no record to read \(pool.rows=1:\)"),
        (BAD, {"on_bad_row": "quarantine"}, "no good row: all 3 were quarantined.*quarantine.jsonl"),
        ([_row("a")] * 3, {"deduplicate": True, "sample": 2}, "pool.sample=2 asks for more rows than the 1 there are"),
    ],
)
def test_an_empty_pool_is_an_error(build: Build, values: list[Any], options: dict[str, Any], reason: str) -> None:
    with pytest.raises(PoolError, match=reason):
        build(values, **options)


def test_exact_duplicates_are_removed_and_counted(build: Build) -> None:
    values = [_row("a", source="x"), _row("b"), _row("a", source="y"), _row("a ")]
    pool, summary = build(values, deduplicate=True)
    assert _questions(pool) == ["a", "b", "a "]
    assert pool.sources[0] == "x"
    assert (summary.duplicates, summary.rows) == (1, 3)
    assert "1 exact duplicates removed" in str(summary)


def test_copies_that_stay_have_ids_of_their_own(build: Build) -> None:
    pool, summary = build([_row("a"), _row("b"), _row("a"), _row("a")])
    first = row_id(_row("a")["messages"])
    assert pool.ids[[0, 2, 3]].tolist() == [first, f"{first}-2", f"{first}-3"]
    assert summary.duplicates == 2
    assert "2 exact duplicates kept" in str(summary)


def test_a_sample_is_uniform_in_order_and_seeded(build: Build) -> None:
    values = [_row(str(index)) for index in range(20)]
    counts = np.zeros(20)
    for seed in range(200):
        drawn = [int(text) for text in _questions(build(values, sample=5, sample_seed=seed)[0])]
        assert drawn == sorted(set(drawn))
        counts[drawn] += 1
    assert counts.sum() == 1000
    assert np.abs(counts - 50).max() < 5 * np.sqrt(50 * 0.75)  # five standard deviations of a binomial count
    again, summary = build(values, sample=5, sample_seed=199)
    assert [int(text) for text in _questions(again)] == drawn
    assert (summary.rows, summary.read, sum(summary.sources.values())) == (5, 20, 5)


def test_a_sample_across_batches_keeps_the_rows_whole(build: Build) -> None:
    values = [_row(str(index), "x" * 3000, tags=[f"t{index % 7}"], quality=float(index)) for index in range(6000)]
    pool, _ = build(values, sample=3000)
    numbers = np.array(_questions(pool), dtype=float)
    np.testing.assert_array_equal(pool.scores["quality"], numbers)
    tags = pool.tags()
    assert tags is not None
    np.testing.assert_array_equal(tags[0].indices, numbers % 7)
    assert pool.row(2999).tags == (f"t{int(numbers[2999]) % 7}",)


def test_building_twice_gives_the_same_bytes(build: Build, tmp_path: Path) -> None:
    values = [_row(str(index % 40), tags=["b", "a"], quality=index / 7, note=str(index)) for index in range(50)]
    contents = []
    for _ in range(2):
        build(values, sample=30, sample_seed=3)
        contents.append((tmp_path / "pool/rows.arrow").read_bytes())
    assert contents[0] == contents[1]
    assert [path.name for path in (tmp_path / "pool").iterdir()] == ["rows.arrow"]


def test_memory_does_not_grow_with_the_text(build: Build) -> None:
    def peak(rows: int) -> int:
        arrow = 0

        def values() -> Iterator[dict[str, Any]]:
            nonlocal arrow
            for index in range(rows):
                arrow = max(arrow, pa.total_allocated_bytes() - before)
                yield _row(f"{index} " + "word " * 4000)

        before = pa.total_allocated_bytes()
        tracemalloc.start()
        build(values(), sample=rows // 2)
        python = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return python + arrow

    small, large = peak(500), peak(4000)  # 10 MB and 80 MB of text
    assert large < 50e6
    assert large - small < 10e6


def test_progress_counts_records(build: Build) -> None:
    seen: list[int] = []
    build([_row(str(index)) for index in range(1200)], progress=seen.append)
    assert seen == [500, 1000, 1200]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON = st.recursive(
    st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner | st.none()) | st.dictionaries(TEXT, inner | st.none()),
    max_leaves=4,
)
TURN = st.builds(
    lambda role, content, rest: {"role": role, "content": content, **rest},
    st.sampled_from(["system", "user", "assistant", "tool"]),
    TEXT,
    st.dictionaries(st.sampled_from(["name", "tool_calls", "tool_call_id", "weight"]), JSON),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(TURN, max_size=4), min_size=1, max_size=4))
def test_messages_come_back_as_they_were(build: Build, conversations: list[list[dict[str, Any]]]) -> None:
    values = [{"messages": [*turns, {"role": "assistant", "content": "4\u2028\x00\r\n"}]} for turns in conversations]
    pool, _ = build(values)
    stored = [row.messages for row in pool.rows(range(len(pool)))]
    assert stored == [value["messages"] for value in values]
    assert json.dumps(stored) == json.dumps([value["messages"] for value in values])  # the order of keys too
