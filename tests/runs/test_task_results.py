"""A task that a model was measured on is not measured again, whatever suite it stands in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module

from siftune.runs import evaluating
from siftune.runs.commands import plan
from siftune.runs.config import experiment_config
from siftune.runs.experiment import run
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.workspace import Workspace

SMALL = ["model=tiny", "selection=none", "finetune=none", "tracking=disabled", "evaluate.limit=4"]
WITHOUT = "~evaluate.tasks.sql_loss"


def node(store: Path, *overrides: str) -> Any:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        return plain_node(compose("run", overrides=[*SMALL, f"store={store}", *overrides]))


def evaluated(store: Path, *overrides: str) -> Path:
    """Run the experiment; the folder of its evaluation."""
    folder = run(experiment_config(node(store, *overrides)), Workspace(store))
    (stage,) = (
        line
        for line in json.loads((folder / "record.json").read_text())["summary"]["stages"]
        if line["kind"] == "evaluation"
    )
    (found,) = (store / "evaluation").glob(f"*-{stage['fingerprint']}")
    return found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The tasks that each evaluation had to measure."""
    measured: list[list[str]] = []
    real = evaluating.evaluate_suite

    def listening(*given: Any, on_task: Any, **named: Any) -> Any:
        measured.append([])
        return real(*given, on_task=measured[-1].append, **named)

    monkeypatch.setattr(evaluating, "evaluate_suite", listening)
    return measured


def test_an_added_task_is_the_only_one_that_is_measured(tmp_path: Path, told: list[list[str]]) -> None:
    first = evaluated(tmp_path, WITHOUT, "evaluate.name=smaller")
    whole = evaluated(tmp_path)
    assert told == [["shell_loss", "shell_em", "sql_em"], ["sql_loss"]]
    undisturbed = evaluated(tmp_path.with_name("another"))
    assert (
        json.loads((whole / "record.json").read_text())["summary"]
        == json.loads((undisturbed / "record.json").read_text())["summary"]
    )
    for name in ("shell_loss", "sql_em"):
        for folder in (first, undisturbed):
            assert (folder / "samples" / f"{name}.jsonl").read_bytes() == (
                whole / "samples" / f"{name}.jsonl"
            ).read_bytes()


@pytest.mark.parametrize(
    "change",
    ["evaluate.limit=3", "evaluate.tasks.sql_em.max_new_tokens=5", "model.seed=1"],
    ids=["limit", "task", "model"],
)
def test_what_would_be_another_result_is_measured(change: str, tmp_path: Path, told: list[list[str]]) -> None:
    evaluated(tmp_path)
    evaluated(tmp_path, change, "evaluate.name=other")
    assert "sql_em" in told[1]


def test_tasks_before_one_that_failed_are_kept(
    tmp_path: Path, told: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = evaluating.evaluate_suite

    def failing(*given: Any, **named: Any) -> Any:
        real(*given, **named)
        raise RuntimeError("the judge has gone")

    with monkeypatch.context() as patched:
        patched.setattr(evaluating, "evaluate_suite", failing)
        with pytest.raises(RuntimeError, match="the judge has gone"):
            evaluated(tmp_path, WITHOUT)
    evaluated(tmp_path)
    assert told[1] == ["sql_loss"]


def test_a_plan_counts_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def tokens() -> int:
        capsys.readouterr()
        plan([node(tmp_path) | {"format": "json"}])
        steps = json.loads(capsys.readouterr().out)["steps"]
        return int(next(step["tokens"] for step in steps if step["kind"] == "evaluation"))

    before = tokens()
    evaluated(tmp_path, WITHOUT)
    assert 0 < tokens() < before
