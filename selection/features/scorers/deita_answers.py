"""What a language model answers with one of the numbers 1 to 6, after a prompt in plain text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import Formatter

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from siftune.finetune.cpu_head import supports
from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import ModelRef
from siftune.selection.features.batching import default_budget, padded_positions, plan_batches
from siftune.selection.features.cpu_attention import use_fast_attention
from siftune.selection.features.forward import last_hidden_states, padded, require_positions
from siftune.selection.features.scorers.deita_scorer import TurnScorer
from siftune.selection.features.side_by_side import side_by_side
from siftune.selection.pool.turns import Turn

ANSWERS = ("1", "2", "3", "4", "5", "6")


@dataclass(frozen=True)
class Prompt:
    """What the model reads of one turn."""

    ids: list[int]
    """Its tokens; empty where nothing of what is to be scored lies within the maximum length."""
    truncated: bool


class Answers:
    """A loaded scorer model: the expected value of what it answers."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        template: str,
        max_length: int,
        tokens_per_batch: int,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._tokens_per_batch = tokens_per_batch
        self._pieces = [(literal, place) for literal, place, _, _ in Formatter().parse(template)]
        self.last = [place for _, place in self._pieces if place is not None][-1]
        """query or response: what stands last in the template."""
        self._ids = _answer_ids(tokenizer, self._text(Turn("x", "x"))[0])

    def prompt(self, turn: Turn) -> Prompt:
        """The turn's tokens; where they are too many, the end of what stands last in the template is cut."""
        text, begin, end = self._text(turn)
        ids = self._encode(text)
        if len(ids) <= self._max_length:
            return Prompt(ids, truncated=False)
        spans = self._tokenizer(text, return_offsets_mapping=True, verbose=False)["offset_mapping"]
        tail = next((position for position, (_, stop) in enumerate(spans) if stop > end), len(ids))
        kept = self._max_length - (len(ids) - tail)
        within = kept > 0 and spans[kept - 1][1] > begin
        return Prompt(ids[:kept] + ids[tail:] if within else [], truncated=True)

    def expected(self, prompts: Sequence[Prompt], done: Callable[[np.ndarray], None]) -> tuple[np.ndarray, int, int]:
        """(m,) float64 expected answers, NaN for an empty prompt; and the tokens, without and with padding.

        `done` is told after each batch which of the prompts it had.
        """
        there = np.array([i for i, prompt in enumerate(prompts) if prompt.ids], dtype=np.int64)
        lengths = [len(prompts[i].ids) for i in there.tolist()]
        batches = plan_batches(lengths, self._tokens_per_batch)
        values = np.full(len(prompts), np.nan)
        members = [[prompts[i].ids for i in there[batch].tolist()] for batch in batches]
        for batch, found in zip(batches, side_by_side(self._batch, members, self._model.device), strict=True):
            values[there[batch]] = found
            done(there[batch])
        return values, sum(lengths), padded_positions(lengths, batches)

    @torch.inference_mode()
    def _batch(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        tokens = padded(ids, int(self._tokenizer.pad_token_id)).to(self._model.device)
        rows = torch.arange(len(ids), device=tokens.device)
        last = torch.tensor([len(own) - 1 for own in ids], device=tokens.device)
        probabilities = self._logits(tokens, rows, last).double().softmax(-1)
        values = probabilities @ torch.arange(1, 7, dtype=torch.float64, device=tokens.device)
        return np.asarray(values.cpu())

    def _logits(self, tokens: torch.Tensor, rows: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """(B, 6) float32: of the answers, after each row's last token."""
        if not supports(self._model):
            # Its logits are more than a product with the head: the model computes them itself.
            logits: torch.Tensor = self._model(input_ids=tokens, use_cache=False).logits[rows, last]
            return logits[:, self._ids].float()
        states = last_hidden_states(self._model.base_model, tokens)[rows, last]
        # In float32, as bfloat16 logits differ by hundredths; six rows of the head cost nothing.
        return states.float() @ self._model.get_output_embeddings().weight[self._ids].float().T

    def _text(self, turn: Turn) -> tuple[str, int, int]:
        """The filled template, and where in it what stands last begins and ends."""
        text, begin, end = "", 0, 0
        for literal, place in self._pieces:
            text += literal
            if place is not None:
                begin = len(text)
                text += getattr(turn, place)
                end = len(text)
        return text, begin, end

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, verbose=False)["input_ids"]
        return ids


def load_answers(config: TurnScorer, reference: ModelRef) -> Answers:
    """The scorer's model and tokenizer, loaded; ValueError where it cannot read as many tokens or answer in one."""
    model = load_causal_lm(reference)
    use_fast_attention(model)
    require_positions(model, config.max_length, "scorer", config.model.name)
    try:
        return Answers(
            model,
            load_tokenizer(reference, chats=False),
            template=config.template,
            max_length=config.max_length,
            tokens_per_batch=config.tokens_per_batch or default_budget(model.device.type),
        )
    except AnswerError as error:
        raise ValueError(f"the model {config.model.name} cannot score {config.score}: {error}") from error


class AnswerError(ValueError):
    """The answers cannot be told apart by one token."""


def _answer_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The tokens of "1" ... "6" as they follow the prompt; AnswerError where one is not a single token there."""
    before: list[int] = tokenizer(prompt, verbose=False)["input_ids"]
    answers = []
    for answer in ANSWERS:
        ids: list[int] = tokenizer(prompt + answer, verbose=False)["input_ids"]
        # A tokenizer may join the space before a number with it, or write an end-of-text token after every text.
        if ids[:-1] != before:
            raise AnswerError(
                f"its tokenizer does not write {answer!r} as one token of its own after {prompt[-12:]!r}; where it "
                "joins a number with the space before it, a template without that space will do"
            )
        answers.append(ids[-1])
    return answers
