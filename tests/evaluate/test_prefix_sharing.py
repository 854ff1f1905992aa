"""Prefixes computed once: the same scores and texts as without, and fewer tokens read."""

from __future__ import annotations

from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from siftune.evaluate.lm import SiftuneLM
from siftune.evaluate.prefix_cache import PrefixCache
from siftune.evaluate.token_counts import TokenCounts
from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import ModelRef

EXAMPLES = "".join(f"Question: what is {i} plus {i}?\nAnswer: {i + i}\n\n" for i in range(12))
QUESTIONS = ["Question: what is 3 plus 9?\nAnswer:", "Question: is it late?\nAnswer:", "Why?\nAnswer:"]
CHOICES = [" 12", " twelve of them", " no"]


def make(ref: ModelRef, batch_size: int | None = 4) -> SiftuneLM:
    return SiftuneLM(load_causal_lm(ref), load_tokenizer(ref), batch_size=batch_size, conversation_length=2048)


def plain(ref: ModelRef) -> HFLM:
    return HFLM(pretrained=load_causal_lm(ref), tokenizer=load_tokenizer(ref), backend="causal", batch_size=1)


def loglikelihoods() -> list[Instance]:
    pairs = [(EXAMPLES + question, choice) for question in QUESTIONS for choice in CHOICES]
    return [Instance("loglikelihood", {}, pair, index) for index, pair in enumerate([*pairs, ("Alone", " here")])]


def generations(until: list[str], **settings: Any) -> list[Instance]:
    asked = {"until": until, "max_gen_toks": 12, "do_sample": False, **settings}
    contexts = [EXAMPLES + question for question in QUESTIONS]
    return [Instance("generate_until", {}, (context, asked), index) for index, context in enumerate(contexts)]


@pytest.mark.parametrize("batch_size", [1, 2, None])
def test_choices_after_the_same_examples(tiny: ModelRef, batch_size: int | None) -> None:
    lm = make(tiny, batch_size)
    expected = plain(tiny).loglikelihood(loglikelihoods(), disable_tqdm=True)
    found = lm.loglikelihood(loglikelihoods(), disable_tqdm=True)
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=2e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    whole = sum(len(lm.tok_encode("".join(request.args))) for request in loglikelihoods())
    assert lm.counts.read < whole / 4


@pytest.mark.parametrize("batch_size", [1, 2, None])
@pytest.mark.parametrize("first_letters", [0, 2])
def test_greedy_texts_with_a_stop_string(tiny: ModelRef, batch_size: int | None, first_letters: int) -> None:
    free = plain(tiny).generate_until(generations([]), disable_tqdm=True)
    # Something that the model does write, so that the texts end at different lengths.
    until = [free[0][first_letters : first_letters + 3]] if first_letters else []
    expected = plain(tiny).generate_until(generations(list(until)), disable_tqdm=True)
    lm = make(tiny, batch_size)
    assert lm.generate_until(generations(list(until)), disable_tqdm=True) == expected
    # What is written alone shares nothing.
    prompts = sum(len(lm.tok_encode(request.args[0])) for request in generations([]))
    assert lm.counts.read == prompts if batch_size == 1 else lm.counts.read < prompts
    assert all(until[0] not in text for text in expected) if until else True


@pytest.mark.parametrize("batch_size", [2, 5, None])
def test_drawn_samples_differ_and_are_the_same_in_any_batch(tiny: ModelRef, batch_size: int | None) -> None:
    samples = [request for request in generations([], do_sample=True, temperature=1.5) for _ in range(4)]
    alone = make(tiny, 1).generate_until(samples, disable_tqdm=True)
    assert len(set(alone)) == len(samples)
    lm = make(tiny, batch_size)
    assert lm.generate_until(samples, disable_tqdm=True) == alone
    # Whatever was drawn before.
    assert lm.generate_until(samples, disable_tqdm=True) == alone


def test_a_small_nucleus_holds_the_likeliest_token_alone(tiny: ModelRef) -> None:
    lm = make(tiny)
    drawn = lm.generate_until(generations([], do_sample=True, temperature=0.8, top_p=1e-9), disable_tqdm=True)
    assert drawn == lm.generate_until(generations([]), disable_tqdm=True)


def test_settings_that_siftune_does_not_know_are_left_to_transformers(tiny: ModelRef) -> None:
    lm = make(tiny)
    found = lm.generate_until(generations([], do_sample=True, temperature=1.5, top_k=1), disable_tqdm=True)
    assert found == lm.generate_until(generations([]), disable_tqdm=True)
    assert lm.counts.written > 0


def test_a_model_with_sliding_windows_shares_nothing(tiny: ModelRef) -> None:
    model = load_causal_lm(tiny)
    assert PrefixCache(model, TokenCounts()).usable
    model.config.sliding_window, model.config.layer_types = 8, ["sliding_attention"] * model.config.num_hidden_layers
    assert not PrefixCache(model, TokenCounts()).usable
