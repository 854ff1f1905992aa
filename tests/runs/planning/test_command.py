"""`siftune plan`, as a person types it, and what `siftune run` and `siftune select` say of their plan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PICKING = ["model=tiny", "pool.size=200", "budget.amount=12", "selection=novelselect"]


def siftune(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "siftune.runs.main", *arguments]
    variables = os.environ | {"COLUMNS": "100"} | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=variables)


@pytest.mark.slow
def test_a_plan_and_what_is_left_of_it_after_the_command(tmp_path: Path) -> None:
    asked = [*PICKING, f"store={tmp_path}/store", f"output={tmp_path}/subset"]
    shown = siftune("plan", "select", *asked)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    # Folders are not cut.
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 100
    assert [line.split()[0] for line in lines[2:6]] == ["pool", "model", "embeddings", "subset"]
    assert "3 of 4 stages" in shown.stdout
    assert not (tmp_path / "subset").exists()
    done = siftune("select", *asked)
    assert done.returncode == 0, done.stderr
    assert "plan: 3 stages to do, 1 in the store" in done.stderr
    again = siftune("select", *asked)
    assert "plan: all 4 stages are in the store" in again.stderr
    quiet = siftune("select", *asked, "check_resources=false")
    assert "plan:" not in quiet.stderr


@pytest.mark.slow
def test_a_sweep_is_planned_as_a_whole_and_exported(tmp_path: Path) -> None:
    asked = ["-m", "selection=none,random", *PICKING[:-1], "evaluate.limit=4", f"store={tmp_path}/store"]
    shown = siftune("plan", *asked, "format=json")
    assert shown.returncode == 0, shown.stderr
    plan = json.loads(shown.stdout)
    cells = {step["name"]: step["cells"] for step in plan["steps"]}
    assert cells["tiny"] == ["base, seed 0", "random, seed 0"]
    assert cells["tiny-random"] == ["random, seed 0"]
    assert plan["to_do"]["flops"] > 0
    assert not list((tmp_path / "store").glob("*/multirun.yaml"))
    markdown = siftune("plan", *asked, "format=markdown").stdout.splitlines()
    assert markdown[0].startswith("| stage | name | fingerprint |")
    assert "- cell 2: random, seed 0" in markdown


@pytest.mark.parametrize("command", [["plan", "select"], ["select"]], ids=" ".join)
def test_what_the_disk_does_not_hold_is_refused(command: list[str], tmp_path: Path) -> None:
    # A pool of 200 rows, for each of which the endpoint that is never asked would give 200 billion numbers.
    endpoint = ["encoder=api", "encoder.endpoint.model=none", "encoder.endpoint.base_url=http://127.0.0.1:9/v1"]
    asked = [*PICKING, *endpoint, "encoder.dimensions=200000000000", f"store={tmp_path}/store"]
    done = siftune(*command, *asked)
    assert done.returncode == 1
    assert "needs about 160 TB of disk" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store" / "embeddings").exists()


def test_only_what_computes_is_planned() -> None:
    done = siftune("plan", "report")
    assert done.returncode == 1
    assert "siftune plan run, or siftune plan select" in done.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("siftune pl", "plan"),
        ("siftune plan selection=rand", "selection=random"),
        ("siftune plan select budget=fr", "budget=fraction"),
        ("siftune plan run finetune=f", "finetune=full"),
    ],
)
def test_shell_completion(line: str, expected: str) -> None:
    done = siftune("-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
    assert expected in done.stdout.split()


def test_help_shows_the_settings_of_the_planned_command() -> None:
    done = siftune("plan", "select", "--help")
    assert done.returncode == 0
    assert "siftune plan: what" in done.stdout
    assert "\n  output=null\n" in done.stdout
    assert "\n  format=table\n      A table for the terminal" in done.stdout
