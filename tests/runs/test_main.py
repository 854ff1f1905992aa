"""The command as a person types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from siftune.runs.hydra_run import options_first


def siftune(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "siftune.runs.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=os.environ | environment)


def test_help_names_the_commands() -> None:
    done = siftune("--help")
    assert done.returncode == 0
    for name in ("run", "select", "plan", "runs", "report", "compare", "measure", "study", "methods"):
        assert f"\n  {name} " in done.stdout


def test_an_unknown_command_is_refused_with_the_nearest() -> None:
    done = siftune("selct")
    assert done.returncode != 0
    assert "Did you mean select" in done.stderr


@pytest.mark.parametrize("arguments", [["study"], ["study", "--help"]], ids=["alone", "help"])
def test_study_names_the_studies(arguments: list[str]) -> None:
    done = siftune(*arguments)
    assert done.returncode == 0
    for name in ("correlation", "simulation"):
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["study", "simulatoin"], "Did you mean simulation?"),
        (["study", "seed=1"], "Allowed: correlation, simulation."),
        (["studdy"], "Did you mean study?"),
        (["plan", "study", "simulation"], "there is nothing to plan in study"),
    ],
    ids=["study", "override", "command", "plan"],
)
def test_an_unknown_study_is_refused(arguments: list[str], words: str) -> None:
    done = siftune(*arguments)
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_options_of_hydra_may_stand_among_the_overrides() -> None:
    typed = ["pool=a", "--config-dir", "b=c", "-m", "seed=0,1", "--cfg", "job", "--info", "label=d"]
    expected = ["--config-dir", "b=c", "-m", "--cfg", "job", "--info", "pool=a", "seed=0,1", "label=d"]
    assert options_first(typed) == expected


def test_an_option_after_an_override_is_understood(tmp_path: Path) -> None:
    done = siftune("select", "selection=random", "--config-dir", str(tmp_path), "--cfg", "job", "budget.amount=7")
    assert done.returncode == 0, done.stderr
    assert "amount: 7" in done.stdout


@pytest.mark.parametrize(
    ("command", "setting"),
    [
        (["measure"], "measures.neighbors=10"),
        (["study", "correlation"], "study.bootstrap=10000"),
        (["study", "simulation"], "measures.neighbors=10"),
    ],
    ids=["measure", "correlation", "simulation"],
)
def test_help_of_measure_and_the_studies_shows_settings(command: list[str], setting: str) -> None:
    done = siftune(*command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"siftune {' '.join(command)}: " in done.stdout
    assert f"\n  {setting}\n" in done.stdout


def test_help_of_a_command_shows_groups_and_settings() -> None:
    done = siftune("select", "--help")
    assert done.returncode == 0
    assert "selection: car, combined_score, deita" in done.stdout
    assert "\n  seed=0\n      Seed of the picks" in done.stdout
    assert "\n  target.tasks={shell, sql}\n" in done.stdout


def test_help_explains_the_chosen_options() -> None:
    done = siftune("run", "--help", "selection=random", "finetune=full")
    assert done.returncode == 0
    assert "selection.aggregation" not in done.stdout
    assert "\n  finetune.method=full\n      lora trains adapters" in done.stdout


def test_methods_lists_signals_cost_and_paper() -> None:
    done = siftune("methods", "format=json")
    methods = {method["name"]: method for method in json.loads(done.stdout)}
    assert set(methods) >= {"random", "random_balanced", "longest", "rds_plus"}
    assert methods["rds_plus"]["signals"] == ["embeddings", "queries"]
    assert "2503.01807" in methods["rds_plus"]["paper"]
    assert all(method["summary"] and method["cost"] for method in methods.values())


def test_select_writes_a_subset_that_datasets_opens(tmp_path: Path) -> None:
    done = siftune(
        "select",
        "model=tiny",
        "pool.size=200",
        "budget.amount=12",
        f"store={tmp_path}/store",
        f"output={tmp_path}/subset",
    )
    assert done.returncode == 0, done.stderr
    from datasets import load_dataset

    subset = load_dataset(str(tmp_path / "subset"), split="train", cache_dir=str(tmp_path / "cache"))
    assert subset.num_rows == 12
    assert subset["rank"] == list(range(12))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["selection=rds_pluss"], ["Did you mean rds_plus"]),
        (["selection=random", "pool=file", "pool.path=nowhere.jsonl"], ["nowhere.jsonl"]),
        (["selection=none"], ["selection=none picks nothing"]),
        (["model.path=/nowhere/at/all", "model=llama3_1_8b"], ["/nowhere/at/all"]),
    ],
    ids=["option", "file", "none", "model"],
)
def test_mistakes_end_in_one_clear_line_and_leave_nothing(
    tmp_path: Path, overrides: list[str], words: list[str]
) -> None:
    done = siftune("select", *overrides, f"store={tmp_path}/store")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "store").exists()


def test_a_budget_that_the_pool_cannot_meet_is_refused_before_anything_is_encoded(tmp_path: Path) -> None:
    done = siftune("select", "model=tiny", "pool.size=50", "budget.amount=60", f"store={tmp_path}")
    assert done.returncode != 0
    assert "60" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "embeddings").exists()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("siftune se", "select"),
        ("siftune select selection=rand", "selection=random"),
        ("siftune run budget=fr", "budget=fraction"),
        ("siftune plan select budget=fr", "budget=fraction"),
        ("siftune stu", "study"),
        ("siftune reproduce mig/ma", "mig/main"),
        ("siftune reproduce mig/main selection=rand", "selection=random"),
        ("siftune study ", "correlation"),
        ("siftune study sim", "simulation"),
        ("siftune study correlation budget=fr", "budget=fraction"),
        ("siftune study simulation measures.nei", "measures.neighbors="),
        ("siftune measure encoder=mini", "encoder=minilm"),
        ("siftune com", "compare"),
        ("siftune compare random rds_plus resam", "resamples="),
        ("siftune runs rela", "relaunch="),
    ],
)
def test_shell_completion(line: str, expected: str) -> None:
    done = siftune("-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
    assert expected in done.stdout.split()


def test_shell_completion_installs() -> None:
    assert "hydra_bash_completion" in siftune("-sc", "install=bash").stdout
