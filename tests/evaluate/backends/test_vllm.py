"""A model in vLLM has the scores that it has in this process, its adapter beside the weights.

vLLM wants versions of torch and transformers of its own: the test skips where it is not installed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from siftune.evaluate.backends.config import VLLM
from siftune.evaluate.harness import evaluate_suite, validate_suite
from siftune.evaluate.suite import Suite
from siftune.evaluate.tasks import EvaluationError, ExactMatch, LMEvalTask, ResponseLoss
from siftune.finetune.decoding import Decoding
from siftune.finetune.generate import ReplyGenerator
from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import ModelRef, RandomModel
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.source import PoolSource
from siftune.selection.pool.store import Pool

Pools = Callable[[PoolSource], Pool]
needs_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed")


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """A model of a size that vLLM has kernels for, and an adapter that changes it much."""
    folder = tmp_path_factory.mktemp("adapted")
    source = RandomModel(dtype="float32", hidden_size=128)
    source.build(folder / "base")
    ref = source.reference(folder / "base")
    model = load_causal_lm(ref)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    model.save_pretrained(folder / "base")
    tuned = get_peft_model(model, LoraConfig(r=12, lora_alpha=24, target_modules=["q_proj", "v_proj", "down_proj"]))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    tuned.save_pretrained(folder / "adapter")
    return dataclasses.replace(ref, adapter=str(folder / "adapter"))


def outputs(folder: Path, task: str) -> list[str]:
    lines = (folder / "samples" / f"{task}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["resps"][0][0] for line in lines]


@needs_vllm
@pytest.mark.slow
def test_vllm_gives_the_scores_of_this_process(
    adapted: ModelRef,
    heldout: FilePool,
    local_tasks: Path,
    pools: Pools,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    colours = LMEvalTask(
        task=str(local_tasks / "colours.yaml"),
        metric="acc_norm",
        data_files={"test": str(local_tasks / "colours.jsonl")},
        apply_chat_template=True,
    )
    em = ExactMatch(data=heldout, max_new_tokens=6)
    suite = Suite(name="s", tasks={"loss": ResponseLoss(data=heldout), "em": em, "colours": colours})
    backend = VLLM(max_model_len=512, options={"enforce_eager": True})
    validate_suite(suite, backend=backend)
    here = evaluate_suite(adapted, suite, tmp_path / "here", pools=pools)
    bare = evaluate_suite(dataclasses.replace(adapted, adapter=None), suite, tmp_path / "bare", pools=pools)
    tokenizer = load_tokenizer(adapted)
    running = backend.start(adapted, tokenizer, None, tmp_path)
    monkeypatch.setattr(VLLM, "start", lambda *given: running)
    there = evaluate_suite(adapted, suite, tmp_path / "there", pools=pools, backend=backend)
    assert there.tasks["loss"].value == pytest.approx(here.tasks["loss"].value, rel=1e-3)
    assert there.tasks["loss"].value != pytest.approx(bare.tasks["loss"].value, rel=1e-2)
    assert there.tasks["colours"].details == pytest.approx(here.tasks["colours"].details)
    assert outputs(tmp_path / "there", "em") == outputs(tmp_path / "here", "em")
    assert there.tasks["em"].tokens == here.tasks["em"].tokens
    asked = [[{"role": "user", "content": text}] for text in ("List the files", "Sum")]
    decoding = Decoding(max_new_tokens=5)
    written = running.writer(decoding).write(asked, [0, 1])
    expected = ReplyGenerator(load_causal_lm(adapted), tokenizer, decoding).replies(asked)
    # Half a character at the end of a reply that is cut: vLLM leaves it out.
    assert [one.reply.text for one in written if one.reply] == [reply.text.rstrip("\ufffd") for reply in expected]
    assert [one.reply.tokens for one in written if one.reply] == [reply.tokens for reply in expected]


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed")
def test_the_remedy_is_told_where_vllm_is_missing(heldout: FilePool) -> None:
    with pytest.raises(EvaluationError, match="pip install vllm"):
        validate_suite(Suite(name="s", tasks={"loss": ResponseLoss(data=heldout)}), backend=VLLM())
