"""Conversations as the model sees them: the chat template's text, what of it the assistant says, and its tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

Message = dict[str, Any]
Span = tuple[int, int]
Tools = list[dict[Any, Any] | Callable[..., Any]]
"""Tools on offer, as JSON schemas or functions: some templates write them into the system turn."""


class ChatTemplateError(ValueError):
    """The tokenizer's chat template cannot render the conversation, or does not render it turn after turn."""


@dataclass(frozen=True)
class Rendered:
    """A conversation in a chat template."""

    text: str
    assistant_spans: tuple[Span, ...]
    """Character spans of what the assistant says: content and end-of-turn token, no header, no white space after."""


@dataclass(frozen=True)
class Tokenized:
    """A conversation as tokens."""

    input_ids: list[int]
    assistant_mask: list[int]
    """1 for the tokens that the assistant says (content and end of turn), else 0; as long as input_ids."""
    truncated: bool
    """Whether tokens beyond the maximum length were cut off on the right."""


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], tools: Tools | None = None) -> Rendered:
    """The whole conversation, and the spans of the assistant's turns.

    A turn begins where the rendering of the turns before it, generation prompt included, ends. A template that rewrites
    earlier turns when later ones come has no such place, and is refused.
    """
    text = render_text(tokenizer, messages, tools)
    spans = []
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            before = (
                _apply(tokenizer, messages[:i], tools, generation=True) if i else _opening(tokenizer, message, tools)
            )
            start = len(_prefix_of(text, before, tokenizer, i))
            upto = _prefix_of(text, _apply(tokenizer, messages[: i + 1], tools, generation=False), tokenizer, i)
            spans.append((start, max(start, len(upto.rstrip()))))
    return Rendered(text, tuple(spans))


def render_text(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], tools: Tools | None = None) -> str:
    """The whole conversation, without looking for the assistant's turns in it."""
    return _apply(tokenizer, messages, tools, generation=False)


def render_prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """The turns given, and the generation prompt: what the model is to continue."""
    return _apply(tokenizer, messages, None, generation=True)


def encode_prompts(tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
    """The conversations' tokens in the chat template, the header of the assistant's turn at the end."""
    return [encode_text(tokenizer, render_prompt(tokenizer, turns))["input_ids"] for turns in conversations]


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the chat template writes after an assistant's words, e.g. <|im_end|>."""
    rendered = render(tokenizer, [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
    start, end = rendered.assistant_spans[0]
    return rendered.text[start:end].partition("Hello")[2].strip()


def tokenize(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], max_length: int) -> Tokenized:
    """The conversation's tokens, at most `max_length` of them (cut on the right), and which of them the assistant says.

    The text is tokenised once, as a whole: tokens are those that the model meets when it is used.
    """
    rendered = render(tokenizer, messages)
    encoded = encode_text(tokenizer, rendered.text, offsets=True)
    ids, mask = encoded["input_ids"], _mask(encoded["offset_mapping"], rendered.assistant_spans)
    return Tokenized(ids[:max_length], mask[:max_length], truncated=len(ids) > max_length)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str, *, offsets: bool = False) -> dict[str, Any]:
    """Tokens of a rendered text, uncut; the tokenizer's own BOS only where the template wrote none."""
    return dict(
        tokenizer(
            text,
            add_special_tokens=not _writes_bos(tokenizer, text),
            return_offsets_mapping=offsets,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
    )


def _writes_bos(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    return bool(tokenizer.bos_token) and text.startswith(str(tokenizer.bos_token))


def _mask(offsets: Sequence[Span], spans: Sequence[Span]) -> list[int]:
    """1 for the tokens that overlap a span; both run left to right. A BOS that the tokenizer adds is empty, (0, 0)."""
    mask, remaining = [], iter(spans)
    span = next(remaining, None)
    for start, end in offsets:
        while span is not None and span[1] <= start:
            span = next(remaining, None)
        mask.append(int(span is not None and end > start and end > span[0] and start < span[1]))
    return mask


def _apply(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    tools: Tools | None,
    generation: bool,
) -> str:
    try:
        text = tokenizer.apply_chat_template(
            list(messages), tools=tools, tokenize=False, add_generation_prompt=generation
        )
    except (TemplateError, TypeError, KeyError) as error:
        roles = ", ".join(str(message.get("role")) for message in messages) or "none at all"
        raise ChatTemplateError(
            f"the chat template of {_name(tokenizer)} cannot render turns of the roles {roles}: {error}. "
            "Choose one that can with model.chat_template=chatml (or tulu, llama3, mistral, vicuna)"
        ) from error
    return str(text)


def _opening(tokenizer: PreTrainedTokenizerBase, message: Message, tools: Tools | None) -> str:
    """What stands before the content of an assistant turn that opens the conversation: templates dislike no turns."""
    one, other = (_apply(tokenizer, [message | {"content": text}], tools, generation=False) for text in ("x", "y"))
    return one[: _first_difference(one, other)]


def _first_difference(one: str, other: str) -> int:
    """Where two texts part: the length of what they begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _prefix_of(text: str, prefix: str, tokenizer: PreTrainedTokenizerBase, turn: int) -> str:
    if not text.startswith(prefix):
        at = _first_difference(text, prefix)
        raise ChatTemplateError(
            f"the chat template of {_name(tokenizer)} renders the turns before turn {turn} differently when that turn "
            f"follows (from character {at}: {prefix[at : at + 40]!r} becomes {text[at : at + 40]!r}), so what the "
            "assistant says cannot be told apart. Choose another one with model.chat_template=chatml"
        )
    return prefix


def _name(tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.name_or_path or type(tokenizer).__name__)
