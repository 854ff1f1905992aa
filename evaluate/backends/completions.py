"""The evaluated model behind /completions: it is given tokens, and tells how likely they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import resolve_max_length
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm
from transformers import AutoConfig, PreTrainedTokenizerBase

from siftune.evaluate.backends.config import CompletionsEndpoint
from siftune.evaluate.backends.endpoint_replies import EndpointReplies
from siftune.evaluate.backends.prompts import AppliesTemplate, Prompt, check_room, write_fitting
from siftune.evaluate.backends.running import Written
from siftune.evaluate.scored import Scored, ScoresTokens, sequence_of
from siftune.evaluate.tasks import EvaluationError
from siftune.finetune.chat import Message, encode_prompts, encode_text
from siftune.finetune.decoding import Decoding
from siftune.finetune.generate import turn_ends
from siftune.finetune.model import explained
from siftune.finetune.model_sources import ModelRef
from siftune.selection.features.endpoint.endpoint_errors import Refusal


class CompletionsModel:
    """A model behind an endpoint (`Running`)."""

    keeps_replies = True

    def __init__(
        self, ref: ModelRef, tokenizer: PreTrainedTokenizerBase, backend: CompletionsEndpoint, folder: Path
    ) -> None:
        backend.require()
        length = backend.max_length or _length(ref, tokenizer)
        replies = EndpointReplies(backend, "completions", folder, ends=turn_ends(tokenizer))
        self._replies, self._tokenizer, self._room = replies, tokenizer, length
        self.counts = replies.counts
        self.lm = CompletionsLM(backend, tokenizer, replies, length, min(ref.max_length, length))

    def writer(self, decoding: Decoding) -> CompletionsWriter:
        """See `Running`."""
        return CompletionsWriter(self._replies, self._tokenizer, decoding, self._room)

    def spent(self) -> Mapping[str, float]:
        """See `Running`."""
        return dict(self._replies.spent)


class CompletionsWriter:
    """Answers to open questions (`Writer`)."""

    def __init__(
        self, replies: EndpointReplies, tokenizer: PreTrainedTokenizerBase, decoding: Decoding, room: int
    ) -> None:
        self._replies, self._tokenizer, self._decoding = replies, tokenizer, decoding
        self._longest = room - decoding.max_new_tokens

    def write(self, conversations: Sequence[Sequence[Message]], seeds: Sequence[int]) -> list[Written]:
        """See `Writer`."""

        def written(prompts: list[Prompt], own_seeds: list[int]) -> list[Written]:
            return self._replies.answers(prompts, self._decoding, own_seeds)

        return write_fitting(encode_prompts(self._tokenizer, conversations), seeds, self._longest, written)


class CompletionsLM(ScoresTokens, AppliesTemplate, TemplateLM):
    """The model as lm-eval's harness calls it. Prompts go out as tokens of this side's tokenizer, so that they are
    those that the model meets in this process."""

    def __init__(
        self,
        backend: CompletionsEndpoint,
        tokenizer: PreTrainedTokenizerBase,
        replies: EndpointReplies,
        max_length: int,
        conversation_length: int,
    ) -> None:
        super().__init__()
        self._backend, self._replies, self.tokenizer = backend, replies, tokenizer
        self.max_length = max_length
        # A token more is scored, and another one written: the endpoint insists on it.
        self.scored_length = max_length - 2
        self.conversation_length = min(conversation_length, max_length - 1)

    @property
    def eot_token_id(self) -> int:
        """The end of a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that has no context, as HFLM has it."""
        beginning = self.tokenizer.bos_token_id
        return self.eot_token_id if beginning is None else int(beginning)

    @property
    def tokenizer_name(self) -> str:
        """Of this side's tokenizer."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Its tokens; the tokenizer's BOS only where the text has none yet."""
        if add_special_tokens is None:
            tokens: list[int] = encode_text(self.tokenizer, string)["input_ids"]
            return tokens
        return list(self.tokenizer.encode(string, add_special_tokens=add_special_tokens))

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The texts, cut at their stop strings; of a prompt that is too long the beginning is left out."""
        return self._replies.texts(requests, self._prompt, progress=not disable_tqdm)

    def score(self, requests: Sequence[Scored], progress: str | None = None) -> list[tuple[list[float], bool]]:
        """See `ScoresTokens`; requests with the same tokens are sent once."""
        sequences = [sequence_of(request) for request in requests]
        sent = list(dict.fromkeys(sequences))
        with tqdm(total=len(sent), desc=progress, disable=progress is None) as bar:
            found, usage = self._backend.open().score(sent, bar.update)
        self._replies.count(usage, sum(len(request.positions) for request in requests))
        by_sequence = dict(zip(sent, found, strict=True))
        results = []
        for request, sequence in zip(requests, sequences, strict=True):
            scores = by_sequence[sequence]
            if isinstance(scores, Refusal):
                raise EvaluationError(
                    f"the endpoint does not score a prompt of {len(sequence):,} tokens ({scores.why}): set "
                    "backend.max_length to what it serves"
                )
            places = request.positions
            results.append(
                ([scores.logprobs[place] for place in places], all(scores.likeliest[place] for place in places))
            )
        return results

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """lm-eval's log-likelihoods of whole texts, window by window where they are long."""
        windows = [self._windows(request.args[0]) for request in requests]
        flat = [(("", ""), context, scored) for own in windows for context, scored in own]
        values = iter(self._loglikelihood_tokens(flat, disable_tqdm))
        return [sum(next(values)[0] for _ in own) for own in windows]

    def _windows(self, text: str) -> list[tuple[list[int], list[int]]]:
        """(context, tokens to be scored) of each window."""
        parts = get_rolling_token_windows(self.tok_encode(text), self.prefix_token_id, self.scored_length, 1)
        return [make_disjoint_window(part) for part in parts]

    def _prompt(self, text: str, tokens: int) -> list[int]:
        check_room(tokens, self.max_length, "backend.max_length")
        return self.tok_encode(text)[tokens - self.max_length :]


def _length(ref: ModelRef, tokenizer: PreTrainedTokenizerBase) -> int:
    with explained(ref.path):
        return int(resolve_max_length(AutoConfig.from_pretrained(ref.path, revision=ref.revision), tokenizer))
