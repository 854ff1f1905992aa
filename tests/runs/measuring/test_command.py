"""The command `siftune measure`: its config, what it refuses, what it prints and writes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from siftune.runs.build import ConfigError, build
from siftune.runs.measure import check_measure
from siftune.runs.measuring.config import MeasureConfig
from siftune.runs.preflight import check_command
from siftune.selection.diversity import MEASURES, MeasureSettings


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
