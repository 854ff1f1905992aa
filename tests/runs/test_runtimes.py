"""The same command on other runtimes ends with the same artifacts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

OVERRIDES = ["model=tiny", "pool.size=1200", "budget.amount=16"]
"""Three shards of rows."""


def select(store: Path, *overrides: str, launcher: tuple[str, ...] = ()) -> str:
    command = [sys.executable, *launcher, "-m", "siftune.runs.main", "select", *OVERRIDES, f"store={store}", *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    # transformers announces that variable, and a test below looks for what Ray announces.
    environment.pop("WANDB_MODE", None)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stderr


def artifacts(store: Path) -> dict[str, bytes]:
    """Every array and the picks, by name."""
    files = [*store.glob("embeddings/*/*.npy"), *store.glob("subset/*/subset.jsonl")]
    return {str(file.relative_to(store)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    store = tmp_path_factory.mktemp("local")
    select(store)
    found = artifacts(store)
    assert len(found) == 4
    return found


@pytest.mark.slow
def test_two_processes_of_a_launch_end_like_one(tmp_path: Path, local: dict[str, bytes]) -> None:
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node", "2")
    errors = select(tmp_path, "runtime=accelerate", launcher=launcher)
    assert errors.count("✔ embeddings skills-rds") == 1
    assert artifacts(tmp_path) == local


@pytest.mark.slow
def test_ray_on_this_machine_ends_like_one_process(tmp_path: Path, local: dict[str, bytes]) -> None:
    pytest.importorskip("ray", reason="needs siftune[ray]")
    errors = select(tmp_path, "runtime=ray")
    # Nothing of what Ray has to say reaches the terminal.
    assert "(raylet)" not in errors
    assert "INFO" not in errors
    assert artifacts(tmp_path) == local
