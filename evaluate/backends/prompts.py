"""Prompts of a model that is given tokens, whoever runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jinja2.exceptions import TemplateError

from siftune.evaluate.backends.running import Written
from siftune.evaluate.tasks import EvaluationError

Prompt = list[int]


class AppliesTemplate:
    """lm-eval's prompts in the chat template of a tokenizer, as its HuggingFace model makes them: to be mixed in."""

    tokenizer: Any

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The turns as text; without those of the system where the template takes none."""
        try:
            return self._rendered(chat_history, add_generation_prompt)
        except TemplateError:
            return self._rendered([turn for turn in chat_history if turn["role"] != "system"], add_generation_prompt)

    def _rendered(self, turns: list[dict[str, str]], add_generation_prompt: bool) -> str:
        text = self.tokenizer.apply_chat_template(
            turns,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return str(text)


def write_fitting(
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    longest: int | None,
    write: Callable[[list[Prompt], list[int]], Sequence[Written]],
) -> list[Written]:
    """What `write` answers to prompts of at most `longest` tokens (None: any) and their seeds; no reply to others."""
    fitting = [place for place, prompt in enumerate(prompts) if longest is None or len(prompt) <= longest]
    written = write([prompts[place] for place in fitting], [seeds[place] for place in fitting])
    found = dict(zip(fitting, written, strict=True))
    return [found.get(place) or Written(len(prompt), None) for place, prompt in enumerate(prompts)]


def check_room(tokens: int, room: int, setting: str) -> None:
    """EvaluationError where an answer of so many tokens leaves no room for its prompt."""
    if tokens >= room:
        raise EvaluationError(
            f"its answers may have {tokens:,} tokens and the model has {room:,} positions for prompt and answer: lower "
            f"generation.max_gen_toks of the task, or raise {setting}"
        )
