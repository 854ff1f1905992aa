"""`siftune study correlation` as a person types it, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra._internal.callbacks import Callbacks

from siftune.runs.artifacts import write_json
from siftune.runs.build import ConfigError, build
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.studies.correlation import CorrelateCells, before_study_correlation, check_study_correlation
from siftune.runs.studies.correlation_config import CorrelationStudyConfig
from siftune.runs.sweep import CELL

SMALL = [
    "model=tiny",
    "encoder=mean",
    "pool.size=120",
    "selection=random",
    "budget.amount=8,12",
    "seed=0,1,2",
    "finetune.epochs=1",
    "finetune.global_batch_size=4",
    "evaluate.limit=2",
    "study.bootstrap=200",
    "study.tasks=[shell_loss,sql_loss]",
    "study.measures.clusters=4",
    "tracking=disabled",
]


def siftune(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "siftune.runs.main", *arguments]
    variables = os.environ | {"COLUMNS": "100"}
    return subprocess.run(command, capture_output=True, text=True, timeout=400, env=variables)


def cell(*overrides: str) -> dict[str, Any]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        return plain_node(compose("study_correlation", overrides=["selection=random", *overrides]))


@pytest.mark.slow
def test_a_study_from_the_sweep_to_its_pictures_and_again_from_the_records_alone(tmp_path: Path) -> None:
    store = tmp_path / "store"
    done = siftune("study", "correlation", *SMALL, f"store={store}")
    assert done.returncode == 0, done.stderr
    assert "NovelSum ↑" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 100
    (folder,) = (store / "study").iterdir()
    written = {path.name for path in folder.iterdir()}
    assert written == {"record.json", "study.json", "study.md", "correlations.png", "scatter.png", "within.png"}
    study = json.loads((folder / "study.json").read_text())
    assert study["benchmarks"] == {"shell_loss": False, "sql_loss": False}
    assert {subset["budget"] for subset in study["subsets"]} == {"8 examples", "12 examples"}
    assert sum(len(subset["runs"]) for subset in study["subsets"]) == 6
    assert all(math.isfinite(value) for subset in study["subsets"] for value in subset["measures"].values())
    # The runs are those of `siftune run`.
    config = json.loads(next(store.glob("run/*/record.json")).read_text())["config"]
    assert config["class"] == "ExperimentConfig"
    assert "study" not in config

    shutil.rmtree(store / "checkpoint")
    again = siftune("study", "correlation", *SMALL, f"store={store}")
    assert again.returncode == 0, again.stderr
    # A trainer that starts greets on the same channel.
    assert again.stdout == done.stdout[done.stdout.index("All ") :]
    assert not (store / "checkpoint").exists()
    assert [path.name for path in (store / "study").iterdir()] == [folder.name]


def test_what_the_end_of_the_study_refuses_is_an_error_of_the_command(tmp_path: Path) -> None:
    """Hydra makes warnings of the errors of its callbacks, and ends as if all were well."""
    (tmp_path / "0").mkdir()
    write_json(tmp_path / "0" / CELL, {"record": str(tmp_path / "gone")})
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        config = compose("study_correlation", overrides=[f"hydra.sweep.dir={tmp_path}"], return_hydra_config=True)
    callbacks = Callbacks()
    callbacks.callbacks.append(CorrelateCells())
    with pytest.raises(SystemExit, match=r"siftune: .*gone/record\.json does not exist"):
        callbacks.on_multirun_end(config)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["study.tasks=[shel_loss]"], ["study.tasks", "Did you mean shell_loss"]),
        (["evaluate=none"], ["evaluate=none", "evaluate=skills_all"]),
        (["study.bootstrap=10"], ["study: bootstrap=10", "at least 100"]),
        (["study.confidence=95"], ["study: confidence=95", "between 0 and 1"]),
        (["study.measures.names=[novelsumm]"], ["novelsum"]),
        (["+study.measure=1"], ["study.measure", "Did you mean measures"]),
        (["finetune.max_length=100000"], ["finetune.max_length"]),
    ],
)
def test_mistakes_are_refused_before_compute(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        check_study_correlation(cell("model=tiny", *overrides))
    for word in words:
        assert word in str(refused.value)


def test_too_few_cells_are_refused() -> None:
    cells = [cell(), cell("budget.amount=7"), cell("selection=none")]
    with pytest.raises(ConfigError, match="2 of the 3 cells pick a subset, and a study needs 3"):
        before_study_correlation(cells)


def test_every_field_is_spelt_out_in_the_yaml() -> None:
    node = cell()
    config: CorrelationStudyConfig = build(CorrelationStudyConfig, node)
    for part, shown in ((config.study, node["study"]), (config.study.measures, node["study"]["measures"])):
        assert {field.name for field in dataclasses.fields(part)} == set(shown)
