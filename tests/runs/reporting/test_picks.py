"""What was picked: overlaps by hand, features of a small store, and what is left out where the store lacks it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from siftune.runs.reporting.content import Part
from siftune.runs.reporting.distributions import bins, features_of, is_logarithmic
from siftune.runs.reporting.diversity import diversity_of
from siftune.runs.reporting.examples import CHARACTERS, cut, shown_ranks
from siftune.runs.reporting.overlap import by_chance, jaccard, overlaps
from siftune.runs.reporting.picks import picks_part
from siftune.runs.reporting.pool_map import MAP_ROWS, mapped_rows
from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.subsets import Picks, picked_sections
from siftune.runs.reporting.tags import tag_shares
from siftune.selection.interface import Budget, Selection
from siftune.selection.measures.reference import Reference
from siftune.selection.measures.settings import MeasureSettings
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.store import Pool, build_pool
from siftune.selection.pool.subset import write_subset
from siftune.selection.pool.subset_card import SubsetCard

ROWS = 60


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A pool of 60 rows: row i has i + 2 words, the second half two turns and a tag, quality i where i is even."""
    source = tmp_path / "rows.jsonl"
    with source.open("w") as file:
        for number in range(ROWS):
            said = [{"role": "user", "content": "word " * number + str(number)}, {"role": "assistant", "content": "ok"}]
            row: dict[str, Any] = {"messages": said * (1 + (number >= 30)), "source": f"source {number % 2}"}
            row["tags"] = ["all", "late"] if number >= 30 else ["all"]
            row["scores"] = {"quality": float(number)} if number % 2 == 0 else {}
            file.write(json.dumps(row) + "\n")
    folder = tmp_path / "pool" / "tiny-aaaa"
    build_pool(FilePool(name="tiny", path=str(source), source_column="source"), folder)
    record(folder, "pool", {})
    return tmp_path


def record(folder: Path, kind: str, inputs: dict[str, str], **summary: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fingerprint = folder.name.rsplit("-", 1)[-1]
    found = {"kind": kind, "name": folder.name, "fingerprint": fingerprint, "inputs": inputs, "summary": summary}
    (folder / "record.json").write_text(json.dumps(found | {"config": {"name": kind}}))


def with_embeddings(store: Path, rows: int = ROWS) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(rows, 8)).astype(np.float32)
    folder = store / "embeddings" / "tiny-minilm-eeee"
    record(folder, "embeddings", {"pool": "aaaa"})
    np.save(folder / "embeddings.npy", values)
    return values


def run(store: Path, label: str, rows: Sequence[int], seed: int = 0) -> RunRecord:
    """A run that picked these rows, with gains from 1 downwards."""
    name = f"{label}{seed}"
    pool = Pool.open(store / "pool" / "tiny-aaaa")
    gains = np.full(len(rows), np.nan) if label == "random" else 1.0 / (1 + np.arange(len(rows)))
    card = SubsetCard(
        pool="tiny", pool_hash="aaaa", method=label, hyperparameters={}, seed=seed, tokens=None,
        budget=Budget(amount=len(rows), unit="examples"),
    )  # fmt: skip
    subset = store / "subset" / f"{label}-{name}"
    write_subset(subset, pool, Selection(indices=np.array(rows), gains=gains), card)
    record(subset, "subset", {"pool": "aaaa"})
    folder = store / "run" / f"{label}-{name}"
    record(folder, "run", {"subset": name, "pool": "aaaa"}, stages=[])
    fields: dict[str, Any] = {
        "folder": folder, "fingerprint": name, "created": "2026", "seconds": 1.0, "commit": None, "label": label,
        "group": None, "seed": seed, "model": "m", "pool": "tiny", "pool_fingerprint": "aaaa", "targets": (),
        "budget": "4 examples", "suite": None, "scores": {}, "headline": None, "headline_tasks": (), "config": {},
        "selection": {"sources_pool": {"source 0": 30, "source 1": 30}, "sources_subset": {"source 0": len(rows)}},
        "training": None,
    }  # fmt: skip
    return RunRecord(**fields)


def picks(name: str, *rows: Sequence[int]) -> Picks:
    return Picks(name, {seed: np.array(found) for seed, found in enumerate(rows)}, {})


def test_jaccard_of_small_sets() -> None:
    assert jaccard(np.array([1, 2, 3]), np.array([3, 4])) == 1 / 4
    assert jaccard(np.array([1, 2]), np.array([2, 1])) == 1.0
    assert jaccard(np.array([1]), np.array([2])) == 0.0
    # 10 of 100 twice: one row in common, 19 in either.
    assert by_chance(10, 10, 100) == pytest.approx(1 / 19)


def test_overlaps_are_means_over_shared_seeds() -> None:
    found = overlaps([picks("a", [1, 2], [3, 4]), picks("b", [1, 2], [5, 6]), picks("c", [3, 4])])
    # a and b: 1 at the first seed, 0 at the second. a with itself: {1, 2} and {3, 4} share nothing.
    np.testing.assert_array_equal(found, [[0.0, 0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, np.nan]])


def test_overlaps_of_methods_without_a_shared_seed_are_over_all_pairs() -> None:
    late = Picks("late", {7: np.array([1, 2])}, {})
    assert overlaps([picks("a", [1, 2], [3, 4]), late])[0, 1] == 0.5


def test_features_of_pool_and_picks(store: Path) -> None:
    (section,) = picked_sections([run(store, "random", [0, 1, 2]), run(store, "a", [59, 30])], store)
    features = {feature.name: feature for feature in features_of(section)}
    assert list(features) == ["words", "user turns", "quality"]
    # Row i says i + 1 words and gets one; rows from 30 on do so twice.
    np.testing.assert_array_equal(features["words"].subsets["random"], [2, 3, 4])
    np.testing.assert_array_equal(features["words"].subsets["a"], [122, 64])
    np.testing.assert_array_equal(features["user turns"].subsets["a"], [2, 2])
    np.testing.assert_array_equal(features["quality"].subsets["random"], [0.0, np.nan, 2.0])
    assert len(features["words"].pool) == ROWS


def test_tokens_and_scores_of_the_store_are_found(store: Path) -> None:
    record(store / "tokens" / "tiny-tttt", "tokens", {"pool": "aaaa"})
    np.save(store / "tokens" / "tiny-tttt" / "num_tokens.npy", np.arange(ROWS) * 10)
    record(store / "scores" / "tiny-ssss", "scores", {"pool": "aaaa"})
    np.save(store / "scores" / "tiny-ssss" / "ifd.npy", np.linspace(0, 1, ROWS))
    record(store / "scores" / "other-oooo", "scores", {"pool": "bbbb"})
    np.save(store / "scores" / "other-oooo" / "perplexity.npy", np.ones(ROWS))
    (section,) = picked_sections([run(store, "a", [5])], store)
    features = {feature.name: feature for feature in features_of(section)}
    assert list(features) == ["tokens", "user turns", "quality", "ifd"]
    np.testing.assert_array_equal(features["tokens"].subsets["a"], [50])


def test_tags_are_shares_of_rows(store: Path) -> None:
    runs = [run(store, "a", [30, 31, 0, 1], seed=0), run(store, "a", [0, 1, 2, 3], seed=1)]
    (section,) = picked_sections(runs, store)
    shares = tag_shares(section)
    assert shares is not None
    assert (shares.names, shares.total) == (("all", "late"), 2)
    np.testing.assert_array_equal(shares.pool, [1.0, 0.5])
    np.testing.assert_array_equal(shares.subsets["a"], [1.0, 0.25])
    assert shares.distinct["a"] == 1.5


def test_diversity_is_that_of_the_measures(store: Path) -> None:
    embeddings = with_embeddings(store)
    runs = [run(store, "a", list(range(20)), seed=0), run(store, "a", list(range(20, 40)), seed=1)]
    (section,) = picked_sections(runs, store)
    found = diversity_of(section)
    assert found is not None
    reference = Reference(embeddings, MeasureSettings(names=("novelsum",)))
    values = [reference.measure(embeddings[start : start + 20])["novelsum"] for start in (0, 20)]
    assert found.report.sets[0].values["novelsum"] == pytest.approx(np.mean(values))
    assert found.spread["a"]["novelsum"] == pytest.approx(np.std(values, ddof=1))


def test_the_whole_part(store: Path) -> None:
    with_embeddings(store)
    runs = [run(store, "random", range(seed, 40, 2), seed) for seed in (0, 1)]
    runs.append(run(store, "a", [59, *range(25)]))
    part = picks_part(runs, store)
    assert part is not None
    assert names_of(part) == ["sources", "distributions", "tags", "overlap", "map"]
    assert [table.name for table in part.tables] == ["diversity"]
    (random, own) = part.examples
    assert len(random[1]) == len(own[1]) == 20
    first = own[1][0]
    assert first.title == "pick 1 of 26 · gain 1 · source 1"
    assert [role for role, _ in first.turns] == ["user", "assistant", "user", "assistant"]
    assert "gain" not in random[1][0].title


def test_what_the_store_lacks_is_left_out(store: Path) -> None:
    with_embeddings(store, rows=ROWS - 1)
    runs = [run(store, "random", [0, 1, 2]), run(store, "gone", [3, 4, 5])]
    (store / "subset" / "gone-gone0" / "subset.jsonl").unlink()
    part = picks_part(runs, store)
    assert part is not None
    assert names_of(part) == ["sources", "distributions", "tags"]
    assert part.tables == []
    assert [heading.split(":")[0] for heading, _ in part.examples] == ["random"]
    (store / "pool" / "tiny-aaaa" / "rows.arrow").unlink()
    part = picks_part(runs, store)
    assert part is not None
    assert names_of(part) == ["sources"]


def test_maps_of_large_pools_show_a_bounded_draw_with_picks_of_every_method() -> None:
    subsets = [np.arange(500), np.arange(50_000, 50_400)]
    rows = mapped_rows(100_000, subsets)
    assert len(rows) == MAP_ROWS
    assert all(np.isin(rows, subset).sum() >= 300 for subset in subsets)
    np.testing.assert_array_equal(rows, mapped_rows(100_000, subsets))
    np.testing.assert_array_equal(mapped_rows(5, subsets), np.arange(5))


def test_bins_follow_the_values() -> None:
    np.testing.assert_array_equal(bins(np.array([1, 2, 2, 4])), [0.5, 1.5, 2.5, 3.5, 4.5])
    wide = bins(np.concatenate([np.full(99, 1.5), [1000.0]]), 10)
    assert is_logarithmic(wide)
    assert (len(wide), wide[0], wide[-1]) == (11, pytest.approx(1.5), pytest.approx(1000.0))
    assert not is_logarithmic(bins(np.array([0.5, np.nan, 1.5, 2.25])))


def test_example_ranks_are_the_first_and_some_of_the_rest() -> None:
    ranks = shown_ranks(1000)
    assert ranks[:10].tolist() == list(range(10))
    assert (len(ranks), ranks[10], ranks[-1]) == (20, 10, 999)
    assert shown_ranks(7).tolist() == list(range(7))
    assert cut("a" * CHARACTERS) == "a" * CHARACTERS
    assert cut("a" * (CHARACTERS + 1)) == "a" * CHARACTERS + " …"


def names_of(part: Part) -> list[str]:
    return [picture.name for picture in part.pictures]
