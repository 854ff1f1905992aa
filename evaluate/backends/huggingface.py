"""The evaluated model in this process, by transformers: adapters stay beside the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from siftune.evaluate.backends.prompts import Prompt, write_fitting
from siftune.evaluate.backends.running import Written
from siftune.evaluate.lm import SiftuneLM
from siftune.finetune.chat import Message
from siftune.finetune.decoding import Decoding
from siftune.finetune.generate import ReplyGenerator
from siftune.finetune.model import load_causal_lm
from siftune.finetune.model_sources import ModelRef


class LoadedModel:
    """A model in memory (`Running`)."""

    keeps_replies = False

    def __init__(self, ref: ModelRef, tokenizer: PreTrainedTokenizerBase, batch_size: int | None) -> None:
        self._model = load_causal_lm(ref)
        self._tokenizer = tokenizer
        self.lm = SiftuneLM(self._model, tokenizer, batch_size=batch_size, conversation_length=ref.max_length)
        self.counts = self.lm.counts

    def writer(self, decoding: Decoding) -> LoadedWriter:
        """See `Running`."""
        return LoadedWriter(ReplyGenerator(self._model, self._tokenizer, decoding), decoding.max_new_tokens)

    def spent(self) -> Mapping[str, float]:
        """See `Running`."""
        return {}


class LoadedWriter:
    """Answers of a model in memory (`Writer`)."""

    def __init__(self, generator: ReplyGenerator, max_new_tokens: int) -> None:
        self._generator = generator
        self._max_new_tokens = max_new_tokens

    def write(self, conversations: Sequence[Sequence[Message]], seeds: Sequence[int]) -> list[Written]:
        """See `Writer`."""
        room = self._generator.room

        def written(prompts: list[Prompt], own_seeds: list[int]) -> list[Written]:
            replies = self._generator.generate(prompts, own_seeds)
            return [Written(len(prompt), reply) for prompt, reply in zip(prompts, replies, strict=True)]

        longest = None if room is None else room - self._max_new_tokens
        return write_fitting(self._generator.encode(conversations), seeds, longest, written)
