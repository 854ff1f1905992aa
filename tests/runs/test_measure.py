"""What `siftune measure` measures: rows, files of ids, records of runs."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from siftune.finetune.model_sources import RandomModel
from siftune.runs.artifacts import write_json
from siftune.runs.console import StageConsole
from siftune.runs.measure import measured
from siftune.runs.measuring.config import MeasureConfig
from siftune.runs.measuring.sets import recorded_picks, sets_of
from siftune.runs.report import ReportError
from siftune.runs.workspace import Workspace
from siftune.selection.diversity import MeasureSettings, Reference
from siftune.selection.features.arrays import ArraysConfig
from siftune.selection.features.encoders.causal_lm import CausalLMEncoder
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.source import PoolError

ROWS = 40
TEXT = "when a fox in red boots jumps over nine lazy dogs and some of them run to see the sea"
WORDS = TEXT.split()
SETTINGS = MeasureSettings(clusters=4)


def rows_file(path: Path, rows: int = ROWS, first: int = 0) -> Path:
    rng = np.random.default_rng(first)
    turns = [
        [
            {"role": "user", "content": " ".join(rng.choice(WORDS, 6))},
            {"role": "assistant", "content": " ".join(rng.choice(WORDS, 8))},
        ]
        for _ in range(rows)
    ]
    lines = [json.dumps({"id": f"row-{first + i}", "messages": item}) for i, item in enumerate(turns)]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(ROWS, 5)).astype(np.float32)


@pytest.fixture
def config(tmp_path: Path, vectors: np.ndarray) -> MeasureConfig:
    np.save(tmp_path / "vectors.npy", vectors)
    return MeasureConfig(
        pool=FilePool(name="made", path=str(rows_file(tmp_path / "rows.jsonl"))),
        model=RandomModel(),
        encoder=CausalLMEncoder(name="tiny", model=RandomModel()),
        arrays=ArraysConfig(embeddings=str(tmp_path / "vectors.npy")),
        measures=SETTINGS,
        store=tmp_path / "store",
    )


def workspace(config: MeasureConfig) -> Workspace:
    return Workspace(config.store, StageConsole(Console(file=io.StringIO())))


def ids(path: Path, *rows: int) -> Path:
    path.write_text("\n".join(f"row-{row}" for row in rows))
    return path


def same(found: Mapping[str, float], expected: Mapping[str, float]) -> bool:
    return found.keys() == expected.keys() and np.allclose(
        list(found.values()), list(expected.values()), equal_nan=True
    )


def test_subsets_are_measured_on_their_rows_against_the_pool(
    config: MeasureConfig, vectors: np.ndarray, tmp_path: Path
) -> None:
    chosen = [3, 1, 20, 8, 9, 30]
    subsets = {"mine": ids(tmp_path / "ids.txt", *chosen)}
    report = measured(dataclasses.replace(config, subsets=subsets), workspace(config))
    (found,) = report.sets
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    texts = ["\n".join(turn["content"] for turn in rows[row]["messages"]) for row in sorted(chosen)]
    assert (found.name, found.rows, report.pool_rows) == ("mine", 6, ROWS)
    assert same(found.values, Reference(vectors, SETTINGS).measure(vectors[sorted(chosen)], texts))


def test_the_pool_itself_is_measured_where_nothing_is_named(config: MeasureConfig, vectors: np.ndarray) -> None:
    report = measured(config, workspace(config))
    assert [(item.name, item.rows) for item in report.sets] == [("made", ROWS)]
    assert report.sets[0].values["novelsum"] == Reference(vectors, SETTINGS).measure(vectors)["novelsum"]


def test_a_set_is_measured_once_whatever_its_name_and_order(
    config: MeasureConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dataclasses.replace(config, subsets={"a": ids(tmp_path / "a.txt", 1, 2, 3, 4)})
    before = measured(first, workspace(config))
    monkeypatch.setattr(Reference, "examine", lambda *_: pytest.fail("measured again"))
    again = dataclasses.replace(config, subsets={"b": ids(tmp_path / "b.txt", 4, 2, 1, 3)})
    after = measured(again, workspace(config))
    assert after.sets[0].fingerprint == before.sets[0].fingerprint
    assert same(after.sets[0].values, before.sets[0].values)


def test_a_row_that_is_named_twice_counts_twice(config: MeasureConfig, tmp_path: Path) -> None:
    subsets = {"once": ids(tmp_path / "a.txt", *range(6)), "twice": ids(tmp_path / "b.txt", *range(6), *range(6))}
    once, twice = measured(dataclasses.replace(config, subsets=subsets), workspace(config)).sets
    assert (once.rows, twice.rows) == (6, 12)
    assert twice.values["ttr"] == pytest.approx(once.values["ttr"] / 2)
    assert twice.values["vendi_score"] == pytest.approx(once.values["vendi_score"])
    assert twice.values["knn_distance"] < once.values["knn_distance"]


def test_texts_alone_need_no_encoder(config: MeasureConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workspace, "embeddings", lambda *_: pytest.fail("encoded"))
    asked = dataclasses.replace(
        config, measures=MeasureSettings(names=("ttr",)), arrays=dataclasses.replace(config.arrays, embeddings=None)
    )
    report = measured(asked, workspace(config))
    assert set(report.sets[0].values) == {"ttr"}
    assert report.encoder is None


def test_another_pool_is_the_reference(config: MeasureConfig, tmp_path: Path) -> None:
    other = FilePool(name="other", path=str(rows_file(tmp_path / "other.jsonl", 30, first=100)))
    asked = dataclasses.replace(config, arrays=dataclasses.replace(config.arrays, embeddings=None), reference=other)
    report = measured(asked, space := workspace(config))
    own, reference = (
        space.embeddings(space.pool(source), config.encoder).array("embeddings") for source in (config.pool, other)
    )
    assert report.reference == "other"
    expected = Reference(reference, SETTINGS).measure(own)
    for name in ("novelsum", "facility_location", "partition_entropy"):
        assert report.sets[0].values[name] == pytest.approx(expected[name])
    assert expected["novelsum"] != pytest.approx(Reference(own, SETTINGS).measure(own)["novelsum"])


def test_ids_that_are_not_in_the_pool_are_named_with_file_and_line(config: MeasureConfig, tmp_path: Path) -> None:
    path = ids(tmp_path / "ids.txt", 1, 2, 99)
    with pytest.raises(PoolError, match=r"subsets\.mine=.*ids\.txt: 1 of 3 ids are not .* row-99 \(line 3\)"):
        measured(dataclasses.replace(config, subsets={"mine": path}), workspace(config))


def test_embeddings_that_are_not_numbers_are_refused(config: MeasureConfig, vectors: np.ndarray) -> None:
    vectors[7, 2] = np.nan
    np.save(str(config.arrays.embeddings), vectors)
    with pytest.raises(ValueError, match=r"arrays\.embeddings=.*vectors\.npy has NaN or infinite values in rows 7"):
        measured(config, workspace(config))


def record_run(store: Path, pool: str, label: str, seed: int, amount: int, rows: list[int]) -> None:
    """A run's record and the subset that it picked, as far as they are read here."""
    subset = f"{label}{seed}{amount}"
    folder = store / "subset" / f"{label}-{subset}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "subset.jsonl").write_text("".join(json.dumps({"pool_row": row}) + "\n" for row in rows))
    budget = {"amount": amount, "unit": "examples"}
    summary: dict[str, Any] = {
        "label": label, "group": "g", "seed": seed, "model": "tiny", "pool": "made", "targets": [], "budget": budget,
        "results": None, "selection": {"rows": len(rows)}, "training": None,
    }  # fmt: skip
    run = store / "run" / f"{label}-{subset}"
    run.mkdir(parents=True)
    record = {"fingerprint": subset, "created": "2026", "seconds": 1.0, "config": {"budget": budget}}
    write_json(run / "record.json", record | {"inputs": {"pool": pool, "subset": subset}, "summary": summary})


def test_the_subsets_of_recorded_runs(config: MeasureConfig) -> None:
    pool = workspace(config).pool(config.pool).fingerprint
    for seed in (0, 1):
        for amount in (12, 5):
            record_run(config.store, pool, "random", seed, amount, list(range(seed, seed + amount)))
    # Another pool in the config: that of the runs counts.
    asked = dataclasses.replace(config, runs="g", pool=FilePool(name="none", path="nowhere.jsonl"))
    found, sets = sets_of(asked, workspace(config))
    assert found.fingerprint == pool
    names = ["random 5 seed 0", "random 5 seed 1", "random 12 seed 0", "random 12 seed 1"]
    assert [item.name for item in sets] == names
    assert [item.rows.tolist() for item in sets[:2]] == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]]
    assert [item.name for item in measured(asked, workspace(config)).sets] == names


def test_runs_of_two_pools_are_not_measured_together(config: MeasureConfig) -> None:
    record_run(config.store, "aaaa", "random", 0, 5, [0])
    record_run(config.store, "bbbb", "longest", 0, 5, [0])
    with pytest.raises(ReportError, match=r"2 pools.*\(bbbb\)"):
        sets_of(dataclasses.replace(config, runs="g"), workspace(config))


def test_runs_whose_pool_is_gone_and_groups_that_are_not_there_are_named(config: MeasureConfig) -> None:
    record_run(config.store, "aaaa", "random", 0, 5, [0])
    with pytest.raises(ReportError, match="the pool of the run random, seed 0 is not in"):
        sets_of(dataclasses.replace(config, runs="g"), workspace(config))
    with pytest.raises(ReportError, match="it has the groups g"):
        recorded_picks(config.store, "another")
