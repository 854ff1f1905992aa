"""The evaluated model in vLLM; imported only where vLLM is installed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.models.vllm_causallms import VLLM
from transformers import PreTrainedTokenizerBase
from vllm import SamplingParams
from vllm.engine.arg_utils import EngineArgs

from siftune.evaluate.backends import config
from siftune.evaluate.backends.prompts import (
    AppliesTemplate,
    Prompt,
    check_room,
    write_fitting,
)
from siftune.evaluate.backends.running import Written
from siftune.evaluate.scored import Scored, ScoresTokens, sequence_of
from siftune.evaluate.seeds import seeds_of
from siftune.evaluate.token_counts import TokenCounts
from siftune.finetune.chat import Message, encode_prompts
from siftune.finetune.decoding import Decoding
from siftune.finetune.generate import Reply, turn_ends
from siftune.finetune.model import resolve_dtype
from siftune.finetune.model_sources import ModelRef

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Of adapters that vLLM has kernels for; others take the next."""


class VLLMModel:
    """A model in vLLM (`Running`)."""

    keeps_replies = False

    def __init__(
        self, ref: ModelRef, tokenizer: PreTrainedTokenizerBase, backend: config.VLLM, batch_size: int | None
    ) -> None:
        self.lm = VLLMScores(ref, tokenizer, backend, batch_size)
        self.counts = self.lm.counts

    def writer(self, decoding: Decoding) -> VLLMWriter:
        """See `Running`."""
        return VLLMWriter(self.lm, decoding)

    def spent(self) -> Mapping[str, float]:
        """See `Running`."""
        return {}


class VLLMScores(ScoresTokens, AppliesTemplate, VLLM):
    """lm-eval's vLLM model with the tokenizer and template that the training used, and conversations scored."""

    def __init__(
        self, ref: ModelRef, tokenizer: PreTrainedTokenizerBase, backend: config.VLLM, batch_size: int | None
    ) -> None:
        adapter = {} if ref.adapter is None else _adapter(Path(ref.adapter))
        together = {} if batch_size is None else {"max_num_seqs": batch_size}
        self.counts = TokenCounts()
        super().__init__(
            pretrained=ref.path,
            revision=ref.revision,
            dtype=str(resolve_dtype(ref.dtype)).removeprefix("torch."),
            tensor_parallel_size=backend.tensor_parallel_size,
            gpu_memory_utilization=backend.gpu_memory_utilization,
            max_model_len=backend.max_model_len,
            **{**together, **adapter, **backend.options},
        )
        self.tokenizer = tokenizer
        # A token more is scored, and another one written: vLLM insists on it.
        self.scored_length = self.max_length - 2
        self.conversation_length = min(ref.max_length, self.max_length - 1)
        self.ends = turn_ends(tokenizer)

    def score(self, requests: Sequence[Scored], progress: str | None = None) -> list[tuple[list[float], bool]]:
        """See `ScoresTokens`; vLLM shows a progress bar of its own."""
        sequences = [sequence_of(request) for request in requests]
        sent = list(dict.fromkeys(sequences))
        outputs = self._model_generate([list(sequence) for sequence in sent], generate=False)
        by_sequence = dict(zip(sent, outputs, strict=True))
        self.counts.predicted += sum(len(request.positions) for request in requests)
        return [
            _scores(request, sequence, by_sequence[sequence].prompt_logprobs)
            for request, sequence in zip(requests, sequences, strict=True)
        ]

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sequence[SamplingParams]) -> list[Reply]:
        """Replies to encoded prompts."""
        outputs = self._model_generate([list(prompt) for prompt in prompts], True, list(sampling))
        return [
            Reply(one.text, len(one.token_ids), ended=one.finish_reason != "length")
            for one in (output.outputs[0] for output in outputs)
        ]

    def modify_gen_kwargs(self, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], list[str], int]:
        """lm-eval's; a text also ends at the chat template's end of turn."""
        settings, stops, tokens = VLLM.modify_gen_kwargs(*args, **kwargs)
        check_room(tokens, self.max_length, "backend.max_model_len")
        ends = [stop for stop in self.ends.strings if stop not in stops]
        return settings | {"stop_token_ids": self.ends.tokens}, [*stops, *ends], tokens

    def _model_generate(self, requests: list[list[int]], generate: bool = False, sampling_params: Any = None) -> Any:
        if generate:
            _seed(requests, sampling_params)
        outputs = super()._model_generate(requests, generate, sampling_params)
        self.counts.read += sum(map(len, requests))
        if generate:
            self.counts.predicted += len(requests)
            self.counts.written += sum(len(output.outputs[0].token_ids) for output in outputs)
        return outputs


class VLLMWriter:
    """Answers to open questions (`Writer`)."""

    def __init__(self, lm: VLLMScores, decoding: Decoding) -> None:
        self._lm, self._decoding = lm, decoding

    def write(self, conversations: Sequence[Sequence[Message]], seeds: Sequence[int]) -> list[Written]:
        """See `Writer`."""

        def written(prompts: list[Prompt], own_seeds: list[int]) -> list[Written]:
            replies = self._lm.generate(prompts, [self._sampling(seed) for seed in own_seeds])
            return [Written(len(prompt), reply) for prompt, reply in zip(prompts, replies, strict=True)]

        longest = self._lm.max_length - self._decoding.max_new_tokens
        return write_fitting(encode_prompts(self._lm.tokenizer, conversations), seeds, longest, written)

    def _sampling(self, seed: int) -> SamplingParams:
        return SamplingParams(
            max_tokens=self._decoding.max_new_tokens,
            temperature=self._decoding.temperature,
            top_p=self._decoding.top_p if self._decoding.temperature else 1.0,
            seed=seed % 2**63,
            stop=self._lm.ends.strings,
            stop_token_ids=self._lm.ends.tokens,
        )


def _scores(request: Scored, sequence: Sequence[int], logprobs: Sequence[Any]) -> tuple[list[float], bool]:
    """What vLLM says of each token given those before it: its log-probability, and the likeliest one's beside it."""
    known = [{token: one.logprob for token, one in logprobs[place + 1].items()} for place in request.positions]
    own = [found[sequence[place + 1]] for found, place in zip(known, request.positions, strict=True)]
    return own, all(mine >= max(found.values()) for mine, found in zip(own, known, strict=True))


def _seed(prompts: Sequence[Sequence[int]], sampling: Sequence[SamplingParams]) -> None:
    """Seeds for what is drawn: samples of one prompt differ, and are the same whatever was drawn before."""
    drawn = [place for place, one in enumerate(sampling) if one.temperature and one.seed is None]
    for place, seed in zip(drawn, seeds_of(tuple(prompts[place]) for place in drawn), strict=True):
        sampling[place].seed = seed


def _adapter(folder: Path) -> dict[str, Any]:
    """What the engine is told of an adapter."""
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    rank, modules = int(settings["r"]), settings["target_modules"]
    told = {"lora_local_path": str(folder), "max_lora_rank": next((known for known in RANKS if known >= rank), rank)}
    # The head would be wrapped too, adapted or not, and some of vLLM's kernels fail on it where prompts are scored.
    if isinstance(modules, list) and "lora_target_modules" in {field.name for field in dataclasses.fields(EngineArgs)}:
        told["lora_target_modules"] = modules
    return told
