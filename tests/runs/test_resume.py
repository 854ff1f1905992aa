"""An experiment killed with SIGKILL at any stage, and started again, ends like an undisturbed one."""

from __future__ import annotations

import json
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


def outcome(store: Path) -> dict[str, Any]:
    """Picks, losses and scores: what must not depend on how often the run was killed."""
    (record,) = store.glob("run/*/record.json")
    summary = json.loads(record.read_text())["summary"]
    (subset,) = store.glob("subset/*/subset.jsonl")
    curve = [(step["step"], step["loss"]) for step in summary["training"]["log"]]
    return {"picks": subset.read_text(), "losses": curve, "results": summary["results"]}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, run_command: Any) -> dict[str, Any]:
    store = tmp_path_factory.mktemp("undisturbed")
    run_command.finish(store)
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
def test_a_killed_run_ends_like_an_undisturbed_one(
    tmp_path: Path, undisturbed: dict[str, Any], run_command: Any, remains: str
) -> None:
    run_command.kill_when(tmp_path, lambda: any(tmp_path.glob(remains)))
    assert not list(tmp_path.glob("run/*/record.json"))
    run_command.finish(tmp_path)
    assert outcome(tmp_path) == undisturbed


@pytest.mark.slow
def test_a_finished_run_is_found_and_nothing_is_computed_again(tmp_path: Path, run_command: Any) -> None:
    run_command.finish(tmp_path)
    records = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*/record.json")}
    errors = run_command.finish(tmp_path)
    assert "recorded already" in errors
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*/record.json")} == records
