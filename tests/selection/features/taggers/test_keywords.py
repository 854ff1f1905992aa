"""Keywords of a toy corpus, worked out by hand, and of rows that have none."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from siftune.selection.features.taggers import keywords
from siftune.selection.features.taggers.keywords import KeywordTagger
from siftune.selection.features.taggers.tagger import Tagged
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.store import Pool, build_pool

CORPUS = [
    "Sort the list of numbers",
    "sort a list, then sort the LIST again",
    "Sum the numbers",
    "bake bread",
    "12 + 30 = ?",
]


def make_pool(folder: Path, texts: list[str], answer: str = "fine") -> Pool:
    folder.mkdir()
    turns = [[{"role": "user", "content": text}, {"role": "assistant", "content": answer}] for text in texts]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps({"messages": turn}) for turn in turns), encoding="utf-8")
    build_pool(FilePool(name="made", path=str(folder / "rows.jsonl")), folder / "pool")
    return Pool.open(folder / "pool")


def tagged(pool: Pool, folder: Path, **options: Any) -> list[Tagged]:
    settings = {"min_rows": 1, "max_share": 1.0, "max_words": 1, **options}
    tagger = KeywordTagger(name="keywords", **settings)
    return list(tagger.tag(pool, None, folder, None, lambda rows: None).rows)


def test_terms_that_weigh_most_come_first(tmp_path: Path) -> None:
    """Weights are count x (ln(6 / (1 + rows)) + 1): bread 2.10, sum 2.10, numbers 1.69, list and sort 1.69 each."""
    rows = tagged(make_pool(tmp_path / "a", CORPUS), tmp_path, top_k=2)
    assert math.log(6 / 3) + 1 == pytest.approx(1.69, abs=0.01)
    assert [row.tags for row in rows] == [
        ("list", "numbers"),  # a tie of three: alphabetical order
        ("list", "sort"),  # twice each; "again" is a stop word
        ("sum", "numbers"),
        ("bake", "bread"),
        (),
    ]
    assert rows[4].why == "none of its words is one of the 6 terms"


def test_pairs_of_words_are_terms_too(tmp_path: Path) -> None:
    rows = tagged(make_pool(tmp_path / "a", CORPUS), tmp_path, max_words=2, top_k=9)
    assert set(rows[3].tags) == {"bake", "bread", "bake bread"}


def test_rare_and_common_terms_are_no_tags(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "a", ["red apple", "red pear", "red plum", "green plum"])
    assert [row.tags for row in tagged(pool, tmp_path, min_rows=2)] == [("red",), ("red",), ("plum", "red"), ("plum",)]
    assert [row.tags for row in tagged(pool, tmp_path, min_rows=2, max_share=0.5)] == [(), (), ("plum",), ("plum",)]
    assert [row.tags for row in tagged(pool, tmp_path, max_terms=1)] == [("red",), ("red",), ("red",), ()]


def test_answers_count_where_the_conversation_is_tagged(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "a", ["red apple", "red pear"], answer="juicy")
    assert "juicy" in tagged(pool, tmp_path, text="conversation")[0].tags
    assert "juicy" not in tagged(pool, tmp_path)[0].tags
    assert tagged(pool, tmp_path, max_characters=3)[0].tags == ("red",)


def test_blocks_and_row_order_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"word{i % 7} word{i % 5} word{i % 3} {'twice ' * (i % 4)}" for i in range(50)]
    pool, backwards = make_pool(tmp_path / "a", texts), make_pool(tmp_path / "b", texts[::-1])
    whole = tagged(pool, tmp_path, max_words=2)
    assert tagged(backwards, tmp_path, max_words=2)[::-1] == whole
    monkeypatch.setattr(keywords, "ROWS_AT_ONCE", 7)
    assert tagged(pool, tmp_path, max_words=2) == whole


def test_frequent_terms_survive_when_rare_ones_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = "abcdefghij"
    once = [f"once{one}{other}" for one in letters for other in letters]
    texts = [f"sorting {'tables' if i % 2 else 'queries'} {word}" for i, word in enumerate(once)]
    pool = make_pool(tmp_path / "a", texts)
    exact = tagged(pool, tmp_path, min_rows=20)
    monkeypatch.setattr(keywords, "ROWS_AT_ONCE", 5)
    monkeypatch.setattr(keywords, "COUNTED_TERMS", 12)
    assert tagged(pool, tmp_path, min_rows=20) == exact
    assert exact[0].tags == ("queries", "sorting")


def test_progress_reaches_the_number_of_rows(tmp_path: Path) -> None:
    pool, told = make_pool(tmp_path / "a", CORPUS), []
    tagger = KeywordTagger(name="keywords", min_rows=1, max_share=1.0)
    list(tagger.tag(pool, None, tmp_path, None, told.append).rows)
    assert sum(told) == len(CORPUS)


def test_code_tables_and_other_scripts_do_not_stop_it(tmp_path: Path) -> None:
    texts = ["| a | b |\n|--|--|", "for(i=0;i<n;i++){x[i]++}", "数学の問題", "🙂🙂", "\u0000\ufffd", "naïve café", "a"]
    rows = tagged(make_pool(tmp_path / "a", texts), tmp_path)
    assert rows[2].tags == ("数学の問題",)
    assert rows[5].tags == ("café", "naïve")
    assert all(bool(row.tags) != bool(row.why) for row in rows)


def test_thresholds_that_leave_no_term_are_refused_with_the_remedy(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "a", CORPUS)
    with pytest.raises(ValueError, match=r"tagger.min_rows=20.*of 5 rows.*lower"):
        tagged(pool, tmp_path, min_rows=20)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top_k": 0}, "tagger.top_k=0"),
        ({"max_share": 0.0}, "tagger.max_share"),
        ({"stop_words": "german"}, "tagger.stop_words='german' must be english or null"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KeywordTagger(name="keywords", **options)
