"""A refinement loop killed with SIGKILL in any step of a round, and started again, ends like an undisturbed one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

OVERRIDES = [
    "experiment=refinement",
    "model=tiny",
    "encoder=mean",
    "pool.size=400",
    "budget.amount=240",
    "selection.num_clusters=8",
    "refinement.rounds=2",
    "refinement.scored_by=trained",
    "refinement.decoding.max_new_tokens=24",
    "finetune.save_steps=2",
    "evaluate=none",
    "tracking=disabled",
    "check_resources=false",
]


def content(store: Path) -> Mapping[str, bytes]:
    """What the loop computed, by stage and file."""
    found = {
        "round": ("*.npy", "rows.arrow"),
        "checkpoint": ("adapter/*.safetensors",),
        "replies": ("answered.npy", "rows.arrow"),
        "feedback": ("*.npy", "reasons.jsonl"),
        "subset": ("subset.jsonl",),
    }
    files = [path for kind, names in found.items() for name in names for path in store.glob(f"{kind}/*/{name}")]
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, run_command: Any) -> Mapping[str, bytes]:
    store = tmp_path_factory.mktemp("undisturbed")
    run_command.finish(store)
    return content(store)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "remains"),
    [
        ("round", "skills-round1-*/indices.npy"),
        ("checkpoint", "tiny-round1-*/checkpoints/checkpoint-*/trainer_state.json"),
        ("replies", "skills-round1-*/shards/*.json"),
        ("scores", "skills-round1-*/shards"),
    ],
    ids=["drawing", "training", "generating", "scoring"],
)
def test_a_killed_loop_ends_like_an_undisturbed_one(
    tmp_path: Path, undisturbed: Mapping[str, bytes], run_command: Any, kind: str, remains: str
) -> None:
    run_command.kill_when(tmp_path, lambda: any(tmp_path.glob(f"{kind}/{remains}")))
    assert not any(tmp_path.glob(f"{kind}/{remains.split('/')[0]}/record.json")), "it was killed too late"
    run_command.finish(tmp_path)
    found = content(tmp_path)
    assert found.keys() == undisturbed.keys()
    assert [name for name, data in found.items() if data != undisturbed[name]] == []
