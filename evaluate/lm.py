"""The language model as lm-eval's harness calls it: HFLM, with logits computed only where something is scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from siftune.evaluate.batch_size import written_rows
from siftune.evaluate.prefix_cache import PrefixCache
from siftune.evaluate.scored import Scored, ScoresTokens
from siftune.evaluate.scoring import TokenScorer
from siftune.evaluate.seeds import seeds_of
from siftune.evaluate.token_counts import TokenCounts
from siftune.evaluate.writing import Ends, TextWriter
from siftune.finetune.generate import TokenChoice, end_tokens

KNOWN = {"attention_mask", "do_sample", "temperature", "top_p"}
"""Generation settings that `TokenChoice` knows."""


class SiftuneLM(ScoresTokens, HFLM):
    """lm-eval's HuggingFace model around one that is loaded already; causal models, one process.

    HFLM computes the logits of every position over the whole vocabulary, in the model's number format. This class
    computes them at the scored positions alone and takes the softmax in float32: the same numbers, sooner.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_size: int | None,
        conversation_length: int,
    ) -> None:
        super().__init__(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size or 1)
        self._given_batch_size = batch_size
        self.conversation_length = min(conversation_length, self.max_length)
        self.scored_length = self.max_length
        self._ends = end_tokens(model, tokenizer)
        self._asked_for: Counter[Hashable] = Counter()
        self.counts = TokenCounts()
        plain = _plain(model)
        prefixes = PrefixCache(plain, self.counts)
        self._scorer = TokenScorer(plain, prefixes, batch_size, self.counts)
        self._writer = TextWriter(plain, prefixes, tokenizer, self.counts)

    def score(self, requests: Sequence[Scored], progress: str | None = None) -> list[tuple[list[float], bool]]:
        """For each request the log-probabilities of its targets, and whether each target is the likeliest token."""
        with tqdm(total=len(requests), desc=progress, disable=progress is None) as bar:
            return self._scorer.score(requests, bar.update)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """HFLM's, in batches that go with the longest request."""
        longest = max((len(self.tok_encode(request.args[0])) + self._asked(request) for request in requests), default=0)
        self._asked_for.clear()
        self.batch_size_per_gpu = written_rows(self._given_batch_size, min(longest, self.max_length), self.device.type)
        texts: list[str] = super().generate_until(requests, disable_tqdm)
        return texts

    def _asked(self, request: Instance) -> int:
        """Tokens that it may take."""
        return int(normalize_gen_kwargs(request.args[1], self.max_gen_toks)["max_gen_toks"])

    def _model_generate(
        self, context: torch.Tensor, max_length: int, stop: list[str], **generation_kwargs: Any
    ) -> torch.Tensor:
        """HFLM's generation; a row also ends at the chat template's end of turn. Texts are written here, where a row
        that has ended costs nothing more and drawn samples of a prompt are the same in any batch; by transformers only
        with settings that siftune does not know."""
        mask = generation_kwargs["attention_mask"]
        prompts = [row[own.bool()].tolist() for row, own in zip(context, mask, strict=True)]
        drawn = bool(generation_kwargs.get("do_sample"))
        if generation_kwargs.keys() <= KNOWN:
            ends = Ends(frozenset(self._ends), tuple(term for term in stop if term))
            choose = TokenChoice(
                self._seeds(prompts) if drawn else [],
                float(generation_kwargs.get("temperature") or 1.0) if drawn else 0.0,
                float(generation_kwargs.get("top_p", 1.0)),
            )
            texts = self._writer.write(prompts, max_length - context.shape[1], ends, choose)
        else:
            generation_kwargs.setdefault("eos_token_id", self._ends)
            written = super()._model_generate(context, max_length, stop, **generation_kwargs)
            texts = [text[: _length(text, self._ends)] for text in written[:, context.shape[1] :].tolist()]
            self.counts.read += int(mask.sum())
        self.counts.predicted += len(context)
        self.counts.written += sum(map(len, texts))
        longest, pad = max(map(len, texts)), self.tokenizer.pad_token_id
        rows = [[*text, *([pad] * (longest - len(text)))] for text in texts]
        return torch.cat([context, torch.tensor(rows, device=context.device, dtype=context.dtype)], dim=1)

    def _seeds(self, prompts: Sequence[Sequence[int]]) -> list[int]:
        return seeds_of((tuple(prompt) for prompt in prompts), self._asked_for)


def _length(text: Sequence[int], ends: Sequence[int]) -> int:
    """Tokens up to the first end, which counts."""
    return next((place for place, token in enumerate(text, start=1) if token in ends), len(text))


def _plain(model: Any) -> Any:
    """The transformers model inside adapters."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
