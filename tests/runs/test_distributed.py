"""A distributed launch of the whole experiment: two processes on the CPU end like one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OVERRIDES = [
    "model=tiny",
    "selection=random",
    "pool.size=200",
    "budget.amount=16",
    "finetune.epochs=2",
    "finetune.global_batch_size=4",
    "evaluate.limit=4",
    "tracking=disabled",
]


def run(store: Path, *launcher: str) -> dict[str, Any]:
    command = [sys.executable, *launcher, "-m", "siftune.runs.main", "run", *OVERRIDES, f"store={store}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    (record,) = store.glob("run/*/record.json")
    summary: dict[str, Any] = json.loads(record.read_text())["summary"]
    return summary


@pytest.mark.slow
def test_two_ranks_end_like_one_process(tmp_path: Path) -> None:
    alone = run(tmp_path / "alone")
    together = run(tmp_path / "together", "-m", "torch.distributed.run", "--nproc_per_node", "2")
    losses = [[step["loss"] for step in summary["training"]["log"]] for summary in (alone, together)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    for name, task in alone["results"]["tasks"].items():
        assert together["results"]["tasks"][name]["value"] == pytest.approx(task["value"], rel=1e-3)
