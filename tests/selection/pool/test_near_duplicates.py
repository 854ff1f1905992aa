"""Near-duplicates: what is proposed, what is decided, and which row stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siftune.selection.kernels.shingle_sets import SINGLE, buckets, find_copies, jaccard
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.near_duplicates import Copies, NearDuplicates, find_near_duplicates
from siftune.selection.pool.shingles import Counts, WordHashes, shingles_of
from siftune.selection.pool.store import Pool, build_pool
from siftune.selection.pool.words import turns, words, words_and_marks

Pools = Callable[[list[tuple[str, str]]], Pool]
WORDS = [f"{first}{second}" for first in "bcdf" for second in "aeiou"]


@pytest.fixture
def pool_of(tmp_path: Path) -> Pools:
    """A pool of (prompt, response) rows."""

    def build(rows: list[tuple[str, str]]) -> Pool:
        path = tmp_path / "rows.jsonl"
        lines = [json.dumps({"prompt": prompt, "completion": response}) + "\n" for prompt, response in rows]
        path.write_text("".join(lines), encoding="utf-8")
        build_pool(FilePool(name="rows", path=str(path)), tmp_path / "pool")
        return Pool.open(tmp_path / "pool")

    return build


def find(pool: Pool, folder: Path, **settings: object) -> Copies:
    return find_near_duplicates(pool, NearDuplicates(**settings), folder)  # type: ignore[arg-type]


def sets_of(pool: Pool, config: NearDuplicates) -> list[set[int]]:
    """The shingles of every row, without templates."""
    hashes = WordHashes()
    found = []
    for messages in pool.conversations(0, len(pool)):
        tokens = words_and_marks("\n".join(turns(messages, config.text)))
        found.append(set(shingles_of(np.array([hashes[t] for t in tokens], np.uint64), config.ngram).tolist()))
    return found


def test_words_fold_case_and_drop_marks_and_shingles_keep_them() -> None:
    assert words("Don't STOP, file_name.txt!") == ["don", "t", "stop", "file_name", "txt"]
    assert words_and_marks("ls -l | wc") == ["ls", "-", "l", "|", "wc"]
    assert words("漢字 and ไทย") == ["漢", "字", "and", "ไ", "ท", "ย"]
    assert words("ＡＢＣ") == ["abc"]


def test_the_jaccard_similarity_worked_out(pool_of: Pools, tmp_path: Path) -> None:
    """Ten words and the same with the last changed: 2-grams 9 and 9, of which 8 are shared: 8 / 10."""
    pool = pool_of([("a b c d e", "f g h i j"), ("a b c d e", "f g h i x")])
    assert find(pool, tmp_path, ngram=2, similarity=0.8).copy_of.tolist() == [-1, 0]
    assert find(pool, tmp_path, ngram=2, similarity=0.8).similarity.tolist() == [0, 0.8]
    assert find(pool, tmp_path, ngram=2, similarity=0.81).copy_of.tolist() == [-1, -1]


def test_jaccard_of_sets() -> None:
    assert jaccard(np.array([1, 3, 5], np.uint64), np.array([3, 5, 7, 9], np.uint64)) == 2 / 5
    assert jaccard(np.array([1], np.uint64), np.array([2], np.uint64)) == 0


def test_a_pair_that_hashing_proposes_is_decided_by_its_shingles() -> None:
    """Rows 0, 1, 2 share a bucket; row 1 has 3 of 5 shingles of row 0, row 2 has all."""
    sets = [[1, 2, 3, 4], [1, 2, 3, 9], [1, 2, 3, 4]]
    bucket, count = buckets(np.array([[7], [7], [7]], np.uint64))
    assert (bucket.tolist(), count) == ([[0], [0], [0]], 1)
    copy_of, overlap = np.full(3, -1, np.int32), np.zeros(3)
    state = [np.full(count, -1, np.int32), np.full((3, 1), -1, np.int32), np.full(3, -1, np.int32)]
    values, offsets = np.array(sets, np.uint64).ravel(), np.array([0, 4, 8, 12])
    compared = find_copies(0, 3, 0.7, values, offsets, bucket, *state, copy_of, overlap)
    assert copy_of.tolist() == [-1, -1, 0]
    assert overlap.tolist() == [0, 0, 1]
    assert compared == 3


def test_buckets_hold_rows_that_share_a_key_in_a_band() -> None:
    bucket, count = buckets(np.array([[1, 5], [2, 5], [1, 6]], np.uint64))
    assert count == 2
    assert bucket.tolist() == [[0, 1], [SINGLE, 1], [0, SINGLE]]


def test_the_first_stays_and_rows_are_compared_with_rows_that_stay(pool_of: Pools, tmp_path: Path) -> None:
    """b is a copy of a; c is like b alone, which is gone, and so c stays."""
    a, b, c = ("q", "a b c d e f g h i j"), ("q", "a b c d e f g h i x"), ("r", "a b c d e f g h i x")
    pool = pool_of([a, b, c])
    found = find(pool, tmp_path, ngram=2, similarity=0.8)
    assert found.copy_of.tolist() == [-1, 0, -1]
    other_way = pool_of([c, b, a])
    assert find(other_way, tmp_path, ngram=2, similarity=0.8).copy_of.tolist() == [-1, 0, -1]


def test_only_the_part_that_is_named_is_compared(pool_of: Pools, tmp_path: Path) -> None:
    one, two, three = " ".join(WORDS), " ".join(reversed(WORDS)), " ".join(WORDS[1::2] + WORDS[::2])
    pool = pool_of([(one, two), (one, one), (three, one)])
    assert find(pool, tmp_path, text="prompt").copy_of.tolist() == [-1, 0, -1]
    assert find(pool, tmp_path, text="response").copy_of.tolist() == [-1, -1, 1]
    assert find(pool, tmp_path).copy_of.tolist() == [-1, -1, -1]


def test_a_long_preamble_that_many_rows_share_makes_no_copies(pool_of: Pools, tmp_path: Path) -> None:
    rows = [(f"{' '.join(WORDS)} tell me of {name}", f"{name} is {name}") for name in ("rome", "oslo", "lima", "cairo")]
    pool = pool_of([*rows, rows[1]])
    assert find(pool, tmp_path, similarity=0.5, common=None).copy_of.tolist() == [-1, 0, 0, 0, 0]
    assert find(pool, tmp_path, similarity=0.5, common=3).copy_of.tolist() == [-1, -1, -1, -1, 1]


def test_copies_more_than_common_are_still_copies(pool_of: Pools, tmp_path: Path) -> None:
    pool = pool_of([(" ".join(WORDS), "yes")] * 6)
    assert find(pool, tmp_path, common=2).copy_of.tolist() == [-1, 0, 0, 0, 0, 0]


def test_rows_without_words_in_the_part_stay(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    turns_ = [[{"role": "user", "content": " "}, {"role": "assistant", "content": f"answer {i}"}] for i in range(3)]
    path.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in turns_))
    build_pool(FilePool(name="rows", path=str(path)), tmp_path / "pool")
    assert find(Pool.open(tmp_path / "pool"), tmp_path, text="prompt").copy_of.tolist() == [-1, -1, -1]


def test_nothing_is_left_behind_and_progress_counts_each_row_twice(pool_of: Pools, tmp_path: Path) -> None:
    pool, done = pool_of([("a", "b"), ("c", "d")]), []
    find_near_duplicates(pool, NearDuplicates(), tmp_path, done.append)
    assert sum(done) == 4
    assert not (tmp_path / "shingles.partial").exists()


def random_rows(seed: int, count: int) -> list[tuple[str, str]]:
    """Rows of 10 to 40 words, a third of them an earlier one with some words changed."""
    rng = np.random.default_rng(seed)
    texts: list[list[str]] = []
    for _ in range(count):
        if texts and rng.random() < 0.4:
            text = list(texts[rng.integers(len(texts))])
            for _ in range(rng.integers(0, 4)):
                text[rng.integers(len(text))] = f"w{rng.integers(50)}"
        else:
            text = [f"w{word}" for word in rng.integers(50, size=rng.integers(10, 40))]
        texts.append(text)
    return [("question", " ".join(text)) for text in texts]


@pytest.mark.parametrize("seed", range(5))
def test_against_all_pairs(pool_of: Pools, tmp_path: Path, seed: int) -> None:
    """What is removed is right to the digit, and pairs well above the threshold are not missed."""
    config = NearDuplicates(ngram=2, similarity=0.6, common=None)
    pool = pool_of(random_rows(seed, 150))
    found, sets = find_near_duplicates(pool, config, tmp_path), sets_of(pool, config)
    kept: list[int] = []
    for row, mine in enumerate(sets):
        similarity = {other: len(mine & sets[other]) / len(mine | sets[other]) for other in kept}
        best = max(similarity.values(), default=0.0)
        copy = int(found.copy_of[row])
        if copy >= 0:
            assert found.similarity[row] == similarity[copy] >= config.similarity
        else:
            assert best < 0.8, f"row {row} was missed"
            kept.append(row)
    assert (found.copy_of >= 0).sum() > 20


def test_the_same_pool_gives_the_same_copies(pool_of: Pools, tmp_path: Path) -> None:
    pool = pool_of(random_rows(9, 100))
    first, second = find(pool, tmp_path, ngram=2), find(pool, tmp_path, ngram=2)
    assert np.array_equal(first.copy_of, second.copy_of)
    assert np.array_equal(first.similarity, second.similarity)


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=20), max_size=20))
@settings(max_examples=50, deadline=None)
def test_counts_are_never_too_low(rows: list[list[int]]) -> None:
    counts = Counts()
    for row in rows:
        counts.add(np.array(row, np.uint64))
    every = sorted({value for row in rows for value in row})
    exact = [sum(value in row for row in rows) for value in every]
    assert (counts.of(np.array(every, np.uint64)) >= exact).all()


def test_bands_propose_nearly_all_pairs_at_the_threshold() -> None:
    assert NearDuplicates().bands() == (18, 7)
    assert 1 - (1 - 0.8**7) ** 18 > 0.98
    assert NearDuplicates(similarity=1.0).bands() == (1, 128)


@pytest.mark.parametrize(
    ("settings_", "words_"),
    [
        ({"similarity": 0.0}, "similarity=0.0"),
        ({"similarity": 1.1}, "similarity=1.1"),
        ({"ngram": 0}, "ngram=0"),
        ({"common": 0}, "common=0"),
        ({"num_permutations": 0}, "num_permutations=0"),
        ({"num_permutations": 4, "similarity": 0.2}, "raise one"),
    ],
)
def test_impossible_settings_are_refused(settings_: dict[str, float], words_: str) -> None:
    with pytest.raises(ValueError, match=f"near_duplicates.*{words_}"):
        NearDuplicates(**settings_)  # type: ignore[arg-type]
