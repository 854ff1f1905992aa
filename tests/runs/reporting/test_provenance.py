"""Where the figures of a report come from: what is said of runs, settings, stages, machines and failures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from siftune.runs.attempts import FILE, KIND
from siftune.runs.fingerprint import plain
from siftune.runs.paper import Axis, Paper
from siftune.runs.reporting.content import Part
from siftune.runs.reporting.papers import recorded_paper
from siftune.runs.reporting.provenance import provenance_part
from siftune.runs.reporting.records import RunRecord, read_store

MACHINE = {"versions": {"python": "3.11.7", "torch": "2.13.0"}, "hardware": {"cores": 2, "gpus": []}}


def stage(kind: str, seconds: float, cached: bool, fingerprint: str = "f1") -> dict[str, Any]:
    return {"kind": kind, "name": "x", "fingerprint": fingerprint, "seconds": seconds, "cached": cached}


def add(store: Path, label: str, seed: int, stages: list[dict[str, Any]], **changes: Any) -> Path:
    """A record of a run with these stages, and what else of its config is given."""
    machine = changes.pop("machine", MACHINE)
    summary = {
        "label": label, "group": "g", "seed": seed, "model": "tiny", "pool": "skills", "targets": [],
        "budget": {"amount": 96, "unit": "examples"}, "suite": None, "results": None, "stages": stages,
        "selection": {"rows": 96}, "training": {"steps": 2},
    }  # fmt: skip
    record = {
        "fingerprint": f"{label}{seed}", "created": "2026-11-22T01:02:03+00:00", "seconds": 1234.0,
        "commit": "0123456789abcdef", "argv": ["siftune", "run", f"seed={seed}"], "inputs": {}, "summary": summary,
        "config": {"seed": seed, "store": "s", "finetune": {"epochs": 2}} | changes,
    }  # fmt: skip
    folder = store / "run" / f"{label}-{seed}"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record | machine))
    return folder


def attempt(store: Path, label: str, **changes: Any) -> None:
    kept = {
        "label": label, "group": "g", "seed": 3, "overrides": [], "cwd": "/", "node": {}, "config": {},
        "started": "2026-11-22T04:00:00+00:00", "commit": None, "error": None, "replaced": [],
    }  # fmt: skip
    folder = store / KIND / f"{label}-0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / FILE).write_text(json.dumps(kept | changes))


def runs_of(store: Path) -> list[RunRecord]:
    return read_store(store, pytest.fail)


def texts(part: Part, name: str) -> list[list[str]]:
    (table,) = [table for table in part.tables if table.name == f"provenance-{name}"]
    return [[column.header for column in table.columns], *([cell.text for cell in row] for row in table.rows)]


def test_runs_stages_and_artifacts(tmp_path: Path) -> None:
    pool = stage("pool", 1.5, cached=False)
    add(tmp_path, "random", 0, [pool, stage("checkpoint", 7200, cached=False, fingerprint="f2")])
    twice = [pool | {"cached": True}, stage("pool", 1.0, False, "f4"), stage("checkpoint", 40, True, "f3")]
    add(tmp_path, "random", 1, twice)
    part = provenance_part(runs_of(tmp_path), tmp_path)
    assert part.text == [
        "2 runs at commit 0123456789. Their stages were computed 3 times, in 2.00 hours together, and found in the "
        "store 2 times."
    ]
    first = texts(part, "runs")[1]
    assert first == [
        *("random", "0", "tiny", "skills", "96 examples", "random0", "0123456789", "2026-11-22 01:02", "1,234"),
    ]
    assert part.tables[0].rows[0][0].note == "siftune run seed=0"
    assert texts(part, "stages") == [
        ["run", "seed", "pool", "checkpoint"],
        ["random", "0", "1.5", "7,200.0"],
        ["random", "1", "2.5", "(40.0)"],
    ]
    artifacts = {row[2]: row[3:] for row in texts(part, "artifacts")[1:]}
    assert artifacts["f1"] == ["1.5", "one of these runs", "2"]
    assert artifacts["f3"] == ["40.0", "an earlier one", "1"]


def test_settings_that_differ_between_methods(tmp_path: Path) -> None:
    for seed in (0, 1):
        add(tmp_path, "random", seed, [], selection={"class": "Random"})
        add(tmp_path, "kmq", seed, [], selection={"class": "Kmq", "num_clusters": 8}, group=f"g{seed}")
    part = provenance_part(runs_of(tmp_path), tmp_path)
    header, *lines = texts(part, "settings")
    assert sorted(header) == ["kmq", "random", "setting"]
    by_setting = {line[0]: dict(zip(header[1:], line[1:], strict=True)) for line in lines}
    assert by_setting == {
        "selection.class": {"random": "Random", "kmq": "Kmq"},
        "selection.num_clusters": {"random": "–", "kmq": "8"},
    }


def test_each_machine_once(tmp_path: Path) -> None:
    add(tmp_path, "random", 0, [])
    add(tmp_path, "random", 1, [])
    assert texts(provenance_part(runs_of(tmp_path), tmp_path), "machines") == [
        ["what", "all runs"],
        *(["python", "3.11.7"], ["torch", "2.13.0"], ["cores", "2"], ["gpus", "none"]),
    ]
    add(tmp_path, "random", 2, [], machine={"versions": {"python": "3.12.0"}, "hardware": {"gpus": ["A", "B"]}})
    found = texts(provenance_part(runs_of(tmp_path), tmp_path), "machines")
    assert found[:3] == [
        ["what", "environment 1", "environment 2"],
        ["python", "3.11.7", "3.12.0"],
        ["torch", "2.13.0", "–"],
    ]
    assert found[-1] == ["gpus", "none", "A, B"]


def test_failures_of_the_group_and_no_other(tmp_path: Path) -> None:
    add(tmp_path, "random", 0, [])
    assert "provenance-failed" not in [table.name for table in provenance_part(runs_of(tmp_path), tmp_path).tables]
    attempt(tmp_path, "kmq", error="out of memory")
    attempt(tmp_path, "mig")
    attempt(tmp_path, "other", error="boom", group="elsewhere")
    part = provenance_part(runs_of(tmp_path), tmp_path)
    assert part.text[1] == "2 more runs of these groups failed or are unfinished: no figure has them."
    assert texts(part, "failed")[1:] == [
        ["kmq", "3", "failed", "2026-11-22 04:00", "out of memory"],
        ["mig", "3", "unfinished", "2026-11-22 04:00", ""],
    ]


def test_the_paper_is_the_one_that_was_recorded(tmp_path: Path) -> None:
    axes = {"Method": Axis(key="label", values={"Random": "random"})}
    grids = ({"selection": "random"},)
    paper = Paper(citation="A 2025", table="t", axes=axes, columns={"Avg": "headline"}, grids=grids)
    add(tmp_path, "random", 0, [], paper=plain(paper))
    assert recorded_paper(runs_of(tmp_path), tmp_path) == (paper, False)
    attempt(tmp_path, "random", run="random-0", overrides=["experiment=x", "scale=miniature"])
    assert recorded_paper(runs_of(tmp_path), tmp_path) == (paper, True)
    add(tmp_path, "random", 1, [], paper=None)
    assert recorded_paper(runs_of(tmp_path), tmp_path) == (None, False)


def test_a_paper_of_another_version_is_no_paper(tmp_path: Path) -> None:
    add(tmp_path, "random", 0, [], paper={"class": "Paper", "citation": "A", "unknown": 1})
    assert recorded_paper(runs_of(tmp_path), tmp_path) == (None, False)
