"""Which recorded runs today's code would not make again; only a small pool is read."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module

from siftune.runs.artifacts import RECORD, new_record
from siftune.runs.attempts import Attempt, keep_attempt, read_attempts
from siftune.runs.config import experiment_config
from siftune.runs.experiment import begin
from siftune.runs.planning.workspace import PlanningWorkspace
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.reporting.records import RunRecord, read_run
from siftune.runs.staleness import why_stale

ROW = '{"messages": [{"role": "user", "content": "%d?"}, {"role": "assistant", "content": "%d"}]}\n'
SETTINGS = ("model=tiny", "selection=random", "budget.amount=3", "pool=file", "pool.path=rows.jsonl")


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Attempt, RunRecord, Path]:
    """A run on the rows of a file, as its store tells of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text("".join(ROW % (n, n) for n in range(9)))
    store = tmp_path / "store"
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        node = plain_node(compose("run", overrides=[*SETTINGS, f"store={store}"]))
    config = experiment_config(node)
    folder = keep_attempt(lambda: record_unmade(config, store), node, config, SETTINGS)
    (attempt,) = read_attempts(store).values()
    monkeypatch.chdir("/")
    return attempt, read_run(folder), store


def record_unmade(config: Any, store: Path) -> Path:
    """The record that the run would leave, but for what it would find."""
    workspace = PlanningWorkspace(store)
    experiment = begin(config, workspace)
    checkpoint = experiment.checkpoint_stage()
    evaluation = experiment.evaluation_stage(checkpoint)
    stages = [*(passed.stage for passed in workspace.noted.values()), checkpoint, evaluation]
    lines = [{"kind": stage.kind, "name": stage.name, "fingerprint": stage.fingerprint} for stage in stages if stage]
    key = experiment.run_key(checkpoint, evaluation)
    named = {"label": config.name, "group": config.group_name, "seed": config.seed, "model": "tiny", "pool": "file"}
    found: dict[str, Any] = {"targets": [], "results": None, "selection": None, "training": None, "stages": lines}
    summary = named | found | {"budget": {"amount": 3, "unit": "examples"}}
    write(key.folder(store), new_record(key, summary, 1.0) | {"config": {}})
    return key.folder(store)


def write(folder: Path, record: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).write_text(json.dumps(record))


def older(recorded: tuple[Attempt, RunRecord, Path], kind: str, **changes: Any) -> tuple[Attempt, RunRecord, Path]:
    """The same run, of which a stage was made otherwise."""
    attempt, run, store = recorded
    record = json.loads((run.folder / RECORD).read_text())
    workspace = PlanningWorkspace(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(attempt.cwd)
        experiment = begin(experiment_config(attempt.node), workspace)
    stages = [passed.stage for passed in workspace.noted.values()] + [experiment.checkpoint_stage()]
    (stage,) = [stage for stage in stages if stage is not None and stage.kind == kind]
    old = "0123456789abcdef"
    write(store / kind / f"{stage.name}-{old}", new_record(stage, {}, 1.0) | {"fingerprint": old} | changes)
    for line in record["summary"]["stages"]:
        line["fingerprint"] = old if line["kind"] == kind else line["fingerprint"]
    write(run.folder, record)
    return attempt, dataclasses.replace(run, fingerprint=old), store


def test_a_run_that_would_be_the_same_is_not_stale(recorded: tuple[Attempt, RunRecord, Path]) -> None:
    assert why_stale(*recorded) is None


def test_another_version_of_a_stage(recorded: tuple[Attempt, RunRecord, Path]) -> None:
    why = why_stale(*older(recorded, "checkpoint", version=0))
    assert why == "checkpoint tiny-random: made by version 0 of the stage, which is now version 1"


def test_settings_that_the_stage_did_not_have(recorded: tuple[Attempt, RunRecord, Path]) -> None:
    why = why_stale(*older(recorded, "subset", config={}))
    assert why is not None
    assert why.startswith("subset random: its settings are others now (")


def test_rows_that_have_changed(recorded: tuple[Attempt, RunRecord, Path]) -> None:
    attempt, run, store = recorded
    with (Path(attempt.cwd) / "rows.jsonl").open("a") as rows:
        rows.write(ROW % (9, 9))
    pools = sorted((store / "pool").iterdir())
    why = why_stale(attempt, run, store)
    assert why is not None
    assert why.startswith("pool ")
    assert "its inputs have changed" in why
    # To find that out, the new rows were not read.
    assert sorted((store / "pool").iterdir()) == pools


def test_what_cannot_be_told_is_not_called_stale(recorded: tuple[Attempt, RunRecord, Path]) -> None:
    attempt, run, store = recorded
    other = dataclasses.replace(run, fingerprint="0123456789abcdef")
    assert why_stale(attempt, other, store) is not None
    unknown = dataclasses.replace(attempt, node={**attempt.node, "a_key_that_is_gone": 1})
    assert why_stale(unknown, other, store) is None
    assert why_stale(dataclasses.replace(attempt, cwd="/nowhere/at/all"), other, store) is None
    shutil.rmtree(store / "pool")
    assert why_stale(attempt, other, store) is None
