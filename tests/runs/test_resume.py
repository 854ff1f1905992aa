"""An experiment killed with SIGKILL at any stage, and started again, ends like an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

OVERRIDES = [
    "model=tiny",
    "pool.size=1200",
    "budget.amount=24",
    "finetune.epochs=4",
    "finetune.global_batch_size=4",
    "finetune.save_steps=2",
    "evaluate.limit=8",
    "tracking=disabled",
]


def start(store: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "siftune.runs.main", "run", *OVERRIDES, f"store={store}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ)


def finish(store: Path) -> str:
    process = start(store)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return errors


def kill_when(store: Path, condition: Callable[[], bool]) -> None:
    process = start(store)
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, (
            f"the run ended before it could be killed: {process.stderr and process.stderr.read()}"
        )
        assert time.monotonic() < deadline, "the stage to kill in never came"
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def outcome(store: Path) -> dict[str, Any]:
    """Picks, losses and scores: what must not depend on how often the run was killed."""
    (record,) = store.glob("run/*/record.json")
    summary = json.loads(record.read_text())["summary"]
    (subset,) = store.glob("subset/*/subset.jsonl")
    curve = [(step["step"], step["loss"]) for step in summary["training"]["log"]]
    return {"picks": subset.read_text(), "losses": curve, "results": summary["results"]}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    store = tmp_path_factory.mktemp("undisturbed")
    finish(store)
    return outcome(store)


@pytest.mark.slow
@pytest.mark.parametrize(
    "remains",
    [
        "embeddings/skills-*/shards/*.json",
        "checkpoint/*/checkpoints/checkpoint-*/trainer_state.json",
        "evaluation/*/tasks/*.json",
    ],
    ids=["embedding", "training", "evaluation"],
)
def test_a_killed_run_ends_like_an_undisturbed_one(tmp_path: Path, undisturbed: dict[str, Any], remains: str) -> None:
    kill_when(tmp_path, lambda: any(tmp_path.glob(remains)))
    assert not list(tmp_path.glob("run/*/record.json"))
    finish(tmp_path)
    assert outcome(tmp_path) == undisturbed


@pytest.mark.slow
def test_a_finished_run_is_found_and_nothing_is_computed_again(tmp_path: Path) -> None:
    finish(tmp_path)
    records = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*/record.json")}
    errors = finish(tmp_path)
    assert "recorded already" in errors
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*/record.json")} == records
