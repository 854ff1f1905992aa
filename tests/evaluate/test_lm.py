"""The scoring of tokens: equal to plain computation and to lm-eval's own, whatever the batch."""

from __future__ import annotations

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from siftune.evaluate.lm import SiftuneLM
from siftune.finetune.chat import encode_text, end_of_turn
from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import ModelRef

PAIRS = [
    ("The capital is", " far away"),
    ("The capital is", " x"),
    ("The capital is", " y"),
    ("One two three four five six seven eight nine ten", " eleven, twelve"),
    ("Short.\n", "After a line break"),
    ("", "no context at all"),
]


def requests(pairs: list[tuple[str, str]]) -> list[Instance]:
    return [Instance("loglikelihood", {}, pair, index) for index, pair in enumerate(pairs)]


def make(ref: ModelRef, batch_size: int = 4, length: int = 2048) -> SiftuneLM:
    return SiftuneLM(load_causal_lm(ref), load_tokenizer(ref), batch_size=batch_size, conversation_length=length)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_loglikelihoods_equal_those_of_lm_eval(tiny: ModelRef, batch_size: int) -> None:
    plain = HFLM(pretrained=load_causal_lm(tiny), tokenizer=load_tokenizer(tiny), backend="causal", batch_size=1)
    expected = plain.loglikelihood(requests(PAIRS), disable_tqdm=True)
    found = make(tiny, batch_size).loglikelihood(requests(PAIRS), disable_tqdm=True)
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=2e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]


def test_a_greedy_continuation_is_recognised(tiny: ModelRef) -> None:
    lm = make(tiny)
    context = lm.tok_encode("The capital is")
    logits = lm.model(torch.tensor([context])).logits[0, -1].detach()
    likeliest = int(logits.argmax())
    found = lm._loglikelihood_tokens([(("", ""), context, [likeliest])], disable_tqdm=True)
    assert found[0][1]
    assert found[0][0] == pytest.approx(float(logits.log_softmax(-1)[likeliest]), abs=1e-5)


def test_a_long_context_is_cut_on_the_left(tiny: ModelRef) -> None:
    lm = make(tiny)
    long = list(range(10, 200)) * 30
    (whole, _), (tail, _) = lm._loglikelihood_tokens(
        [(("", ""), long, [7, 8]), (("", ""), long[-(lm.max_length - 1) :], [7, 8])], disable_tqdm=True
    )
    assert whole == pytest.approx(tail, abs=1e-5)


@pytest.mark.parametrize(("length", "truncated"), [(2048, False), (12, True)])
def test_responses_are_scored_within_the_model_length(tiny: ModelRef, length: int, truncated: bool) -> None:
    lm = make(tiny, length=length)
    text = "Tell me more. " * 3 + "Zürich and Genève."
    span = (text.index("Zürich"), len(text))
    (score,) = lm.response_loglikelihood([Instance("response_loglikelihood", {}, (text, (span,)), 0)])
    encoded = encode_text(lm.tokenizer, text, offsets=True)
    first = max(0, len(encoded["input_ids"]) - length)
    ids, offsets = encoded["input_ids"][first:], encoded["offset_mapping"][first:]
    logprobs = lm.model(torch.tensor([ids])).logits[0].log_softmax(-1).detach()
    scored = [i for i in range(1, len(ids)) if offsets[i][1] > span[0]]
    assert score.truncated is truncated
    assert score.nats == pytest.approx(-sum(float(logprobs[i - 1, ids[i]]) for i in scored), abs=1e-4)
    begin = offsets[scored[0]][0] if truncated else span[0]
    assert score.bytes == len(text[begin:].encode())


@pytest.mark.parametrize(
    ("template", "marker"), [("chatml", "<|im_end|>"), ("llama3", "<|eot_id|>"), ("tulu", "<|im_end|>")]
)
def test_the_end_of_a_turn_is_read_off_the_template(tiny: ModelRef, template: str, marker: str) -> None:
    ref = ModelRef(path=tiny.path, chat_template=template)
    assert end_of_turn(load_tokenizer(ref)) == marker
