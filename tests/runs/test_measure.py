"""`siftune measure` from rows, files of ids and records of runs to a table, JSON and a picture."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from siftune.finetune.model_sources import RandomModel
from siftune.runs.artifacts import write_json
from siftune.runs.build import ConfigError, build
from siftune.runs.console import StageConsole
from siftune.runs.measure import check_measure, measured
from siftune.runs.measuring.config import MeasureConfig
from siftune.runs.measuring.report import MeasuredSet, MeasureReport
from siftune.runs.measuring.sets import recorded_picks, sets_of
from siftune.runs.measuring.table import markdown, print_table
from siftune.runs.preflight import check_command
from siftune.runs.report import ReportError
from siftune.runs.workspace import Workspace
from siftune.selection.diversity import MEASURES, MeasureSettings, Reference
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


def report_of(values: Mapping[str, tuple[int, float, float]]) -> MeasureReport:
    """name -> rows, facility location (less is more diverse), Vendi score."""
    sets = tuple(
        MeasuredSet(
            name,
            rows,
            {"facility_location": far, "vendi_score": vendi},
            {} if vendi == vendi else {"vendi_score": "because"},
            "f",
        )
        for name, (rows, far, vendi) in values.items()
    )
    settings = MeasureSettings(names=("facility_location", "vendi_score"))
    return MeasureReport(
        pool="made", pool_fingerprint="p", pool_rows=40, encoder="e", reference=None, settings=settings, sets=sets
    )


REPORT = {"a": (8, 1.0, 3.0), "b": (8, 2.0, 4.0), "c": (9, 0.5, float("nan"))}


def test_the_best_is_the_best_of_its_size() -> None:
    report = report_of(REPORT)
    assert report.best("facility_location", 3) == {"a"}
    assert report.best("vendi_score", 3) == {"b"}
    assert report.best("vendi_score", -1) == set()


def test_markdown_has_few_sets_beside_each_other_and_many_below() -> None:
    beside = markdown(report_of(REPORT)).splitlines()
    assert beside[4] == "| measure | a<br>8 rows | b<br>8 rows | c<br>9 rows |"
    assert beside[6] == "| Facility location ↓ | **1.000** | 2.000 | 0.500 |"
    assert beside[7] == "| Vendi score ↑ | 3.000 | **4.000** | – |"
    assert "No Vendi score of c: because." in beside
    below = markdown(report_of({**REPORT, "d": (8, 7.0, 1.0), "e": (8, 7.0, 1.0), "f": (8, 7.0, 1.0)})).splitlines()
    assert below[4] == "| set | rows | Facility location ↓ | Vendi score ↑ |"
    assert below[7] == "| b | 8 | 2.000 | **4.000** |"


def test_the_table_says_how_to_read_it() -> None:
    said = io.StringIO()
    print_table(report_of(REPORT), Console(file=said, width=100))
    assert "pool made (40 rows) · encoder e" in said.getvalue()
    assert "compare sets that have as many" in said.getvalue()
    assert "no Vendi score of c: because" in said.getvalue()


def test_json_has_null_where_a_set_has_no_value() -> None:
    found = json.loads(json.dumps(report_of(REPORT).to_json(), allow_nan=False))
    assert found["sets"][2]["values"] == {"facility_location": 0.5, "vendi_score": None}
    assert found["sets"][2]["reasons"] == {"vendi_score": "because"}
    assert found["measures"]["facility_location"]["more_is_more_diverse"] is False


def test_the_picture_has_a_panel_a_measure_and_no_point_for_what_is_missing() -> None:
    from siftune.runs.measuring.plots import measures_figure

    panels = [axis for axis in measures_figure(report_of(REPORT)).axes if axis.get_visible()]
    assert [axis.get_title().strip() for axis in panels] == ["Facility location", "Vendi score"]
    assert [len(axis.collections) for axis in panels] == [3, 2]


def test_the_command_prints_json_for_programs_and_writes_files(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "siftune.runs.main",
        "measure",
        "pool.size=60",
        "model=tiny",
        "measures.clusters=5",
    ]
    command += [f"store={tmp_path / 'store'}", f"output={tmp_path / 'out'}", "format=json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [item["rows"] for item in found["sets"]] == [60]
    assert all(value is not None for value in found["sets"][0]["values"].values())
    assert json.loads((tmp_path / "out" / "measures.json").read_text()) == found
    assert (tmp_path / "out" / "measures.png").read_bytes().startswith(b"\x89PNG")


def test_the_yaml_composes_and_spells_every_field() -> None:
    (node,) = check_command("measure", [], multirun=False, config_dir=None, check=check_measure)
    config: MeasureConfig = build(MeasureConfig, node)
    assert config.measures == MeasureSettings()
    assert {*node, "reference"} == {field.name for field in dataclasses.fields(MeasureConfig)}
    assert set(node["measures"]) == {field.name for field in dataclasses.fields(MeasureSettings)}
    assert config.reads_embeddings
    assert set(MEASURES) == set(config.measures.chosen)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["subsets.mine=folder"], "with a plus, +subsets.mine="),
        (["+subsets.mine=no-such-folder"], "subsets.mine=no-such-folder: there is no such file"),
        (["measures.names=[novelsm]"], "did you mean 'novelsum'"),
        (["arrays.reference_embeddings=x.npy"], "arrays.embeddings is not"),
        (["+arrays.num_tokens=x.npy"], "arrays.num_tokens is not read"),
        (["arrays.embeddings=x.npy", "pool@reference=skills"], "arrays.reference_embeddings"),
        (["arrays.embeddings=x.npy"], "there is no such file"),
        (["format=yaml"], "format=yaml"),
    ],
)
def test_mistakes_are_refused_before_compute(overrides: list[str], words: str) -> None:
    with pytest.raises((ConfigError, ValueError)) as refused:
        check_command("measure", overrides, multirun=False, config_dir=None, check=check_measure)
    assert words in str(refused.value)
