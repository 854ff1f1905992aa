"""Batched replies: each row's own whatever the batch, ended where the chat template ends a turn."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from siftune.finetune.chat import Message
from siftune.finetune.decoding import Decoding
from siftune.finetune.generate import Reply, ReplyGenerator, TokenChoice, end_tokens
from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import ModelRef


def prompt(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


PROMPTS = [
    prompt("What is " + "the number of the people in the system " * count + "?") for count in (0, 7, 1, 3, 12, 2)
]


@pytest.fixture(scope="module")
def model(tiny: ModelRef) -> PreTrainedModel:
    """Weights so large that what the model says depends on all that it was told."""
    model = load_causal_lm(tiny, dtype="float32")
    model.lm_head.weight = torch.nn.Parameter(torch.randn(512, 64, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "proj" in name:
                weight *= 8
    return model


@pytest.fixture(scope="module")
def tokenizer(tiny: ModelRef) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny)


def generator(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, **options: Any) -> ReplyGenerator:
    return ReplyGenerator(model, tokenizer, Decoding(**{"max_new_tokens": 12, **options}))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_reply_does_not_depend_on_the_rows_batched_with_it(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, temperature: float
) -> None:
    seeds = [11, 12, 13, 14, 15, 16]
    together = generator(model, tokenizer, temperature=temperature).replies(PROMPTS, seeds)
    alone = generator(model, tokenizer, temperature=temperature, positions_per_batch=1).replies(PROMPTS, seeds)
    assert together == alone
    backwards = generator(model, tokenizer, temperature=temperature, positions_per_batch=400)
    assert backwards.replies(PROMPTS[::-1], seeds[::-1]) == alone[::-1]
    assert len({reply.text for reply in alone}) == len(PROMPTS)


def test_nothing_is_computed_of_a_reply_that_has_ended(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens that the model says are made ends of the turn, so that replies end at different steps."""
    together = generator(model, tokenizer, max_new_tokens=20)
    alone = generator(model, tokenizer, max_new_tokens=20, positions_per_batch=1)
    said = [tokenizer.encode(reply.text) for reply in alone.replies(PROMPTS)]
    ends = sorted({said[0][3], said[1][6], said[2][9]})
    monkeypatch.setattr(together, "_ends", ends)
    monkeypatch.setattr(alone, "_ends", ends)
    rows, told, plain = [], [], together._steps.next_logits
    monkeypatch.setattr(together._steps, "next_logits", lambda *args: rows.append(len(args[0])) or plain(*args))
    replies = together.replies(PROMPTS, progress=told.append)
    assert replies == alone.replies(PROMPTS)
    assert len({reply.tokens for reply in replies}) > 2
    assert sum(rows) == sum(reply.tokens for reply in replies)
    assert sum(told) == len(PROMPTS)


def test_greedy_replies_are_those_of_plain_decoding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    lm = generator(model, tokenizer)
    for ids, reply in zip(lm.encode(PROMPTS), lm.replies(PROMPTS), strict=True):
        tokens = list(ids)
        for _ in range(reply.tokens):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        said = tokens[len(ids) :]
        if reply.ended:
            said = said[:-1]
        assert reply.text == tokenizer.decode(said, skip_special_tokens=True)


def test_the_seed_makes_the_drawn_reply(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    lm = generator(model, tokenizer, temperature=1.0)
    first, second, other = lm.replies([PROMPTS[0]] * 3, seeds=[1, 1, 2])
    assert first == second != other


def test_tokens_are_drawn_by_their_probability_within_top_p() -> None:
    logits = torch.log(torch.tensor([0.15, 0.5, 0.05, 0.3]))
    rows = 4000
    drawn = TokenChoice(range(rows), 1.0, 1.0)(logits.repeat(rows, 1), range(rows)).tolist()
    counts = Counter(drawn)
    for token, share in enumerate((0.15, 0.5, 0.05, 0.3)):
        assert counts[token] / rows == pytest.approx(share, abs=0.03)
    nucleus = TokenChoice(range(rows), 1.0, 0.8)(logits.repeat(rows, 1), range(rows)).tolist()
    assert set(nucleus) == {1, 3}
    assert Counter(nucleus)[1] / rows == pytest.approx(0.625, abs=0.03)


def _always(model: PreTrainedModel, tokens: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the model say these tokens, whatever it is asked."""
    plain = model.forward
    said = {"steps": 0}

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = plain(*args, **kwargs)
        output.logits[:] = 0
        output.logits[..., tokens[said["steps"] % len(tokens)]] = 9
        said["steps"] += 1
        return output

    monkeypatch.setattr(model, "forward", forward)


@pytest.mark.parametrize("template", ["chatml", "llama3"])
def test_a_reply_stops_at_the_end_of_the_turn(tiny: ModelRef, template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ChatML's end is one token of this vocabulary and its EOS; Llama 3's is several, which say <|eot_id|>."""
    tokenizer = load_tokenizer(ModelRef(path=tiny.path, chat_template=template))
    model = load_causal_lm(tiny, dtype="float32")
    end = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>"}[template]
    say, marker = (tokenizer.encode(text, add_special_tokens=False) for text in (" yes and no", end))
    _always(model, say + marker + say, monkeypatch)
    replies = generator(model, tokenizer, max_new_tokens=40).replies(PROMPTS[:2])
    assert replies == [Reply(" yes and no", len(say) + len(marker), ended=True)] * 2


def test_a_reply_that_does_not_end_is_cut_and_says_so(
    tiny: ModelRef, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_causal_lm(tiny, dtype="float32")
    _always(model, tokenizer.encode(" and"), monkeypatch)
    told: list[int] = []
    lm = generator(model, tokenizer, max_new_tokens=3, positions_per_batch=1)
    assert lm.replies(PROMPTS[:2], progress=told.append) == [Reply(" and and and", 3, ended=False)] * 2
    assert told == [1, 1]


def test_the_template_adds_its_end_to_the_tokenizers_own(tiny: ModelRef, model: PreTrainedModel) -> None:
    tokenizer = load_tokenizer(tiny)
    tokenizer.eos_token = "<|endoftext|>"
    assert end_tokens(model, tokenizer) == sorted(tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"]))


def test_a_prompt_without_room_for_its_reply_is_refused(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    with pytest.raises(ValueError, match=r"a prompt of 5,000 tokens.*4,096 positions"):
        generator(model, tokenizer).generate([[5] * 5000])


def test_no_prompts_have_no_replies(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    assert generator(model, tokenizer).replies([]) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [({"max_new_tokens": 0}, "max_new_tokens=0"), ({"temperature": -1.0}, "temperature"), ({"top_p": 0.0}, "top_p")],
)
def test_impossible_settings_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Decoding(**options)
