"""Texts by an evaluated model behind an endpoint: kept as they come, and counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lm_eval.api.instance import Instance
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from tqdm import tqdm

from siftune.evaluate.backends.running import Written
from siftune.evaluate.kept_replies import KeptReplies
from siftune.evaluate.seeds import seeds_of, small_seed
from siftune.evaluate.tasks import EvaluationError
from siftune.evaluate.token_counts import TokenCounts
from siftune.finetune.decoding import Decoding
from siftune.finetune.generate import Reply, TurnEnds
from siftune.selection.features.endpoint.endpoint import Endpoint
from siftune.selection.features.endpoint.endpoint_errors import Refusal
from siftune.selection.features.endpoint.endpoint_replies import Reply as EndpointReply

STOPS = 4
"""Stop strings of a request: OpenAI takes no more. Texts are cut here at all of them."""
DEFAULT_TOKENS = 256
"""Of a text, where a task does not say: lm-eval's own default."""
NO_ENDS = TurnEnds([], [])


class EndpointReplies:
    """Asks an endpoint for texts; what it said before is not asked for again."""

    def __init__(
        self,
        endpoint: Endpoint,
        kind: Literal["chat", "completions"],
        folder: Path,
        *,
        leave_out: Sequence[str] = (),
        ends: TurnEnds = NO_ENDS,
    ) -> None:
        """folder: of replies, which evaluations share. ends: what ends every text, besides the task's own stops."""
        self._endpoint, self._kind, self._folder = endpoint, kind, folder
        self._leave_out, self._ends = leave_out, ends
        self.counts = TokenCounts()
        self.spent: Counter[str] = Counter()

    def texts(
        self,
        requests: Sequence[Instance],
        prompt: Callable[[str, int], Any],
        progress: bool,
        extra: Callable[[str], Mapping[str, Any]] = lambda text: {},
    ) -> list[str]:
        """Of lm-eval's requests (prompt, generation settings), in their order; empty for a prompt that is not taken.

        prompt: (text, tokens that may be written) -> what the endpoint is asked. extra: text -> further entries of its
        request.
        """
        settings = [
            {**normalize_gen_kwargs(request.args[1], DEFAULT_TOKENS), **extra(request.args[0])} for request in requests
        ]
        groups: dict[str, list[int]] = {}
        for place, own in enumerate(settings):
            groups.setdefault(json.dumps(own, sort_keys=True), []).append(place)
        found: dict[int, str] = {}
        with tqdm(total=len(requests), desc="Requesting texts", disable=not progress) as bar:
            for places in groups.values():
                group = [requests[place] for place in places]
                found |= zip(places, self._group(group, dict(settings[places[0]]), prompt, bar.update), strict=True)
        return [found[place] for place in range(len(requests))]

    def answers(self, asked: Sequence[Any], decoding: Decoding, seeds: Sequence[int]) -> list[Written]:
        """Answers to open questions."""
        drawn = decoding.temperature > 0
        settings = {"max_gen_toks": decoding.max_new_tokens, "temperature": decoding.temperature, "until": []}
        body = self._body(settings | ({"top_p": decoding.top_p} if drawn else {}))
        own_seeds = [small_seed(seed) for seed in seeds] if drawn else None
        return [_answer(reply) for reply in self._ask(asked, body, own_seeds, lambda replies: None)]

    def count(self, usage: Mapping[str, float], requests: int) -> None:
        """Add what requests have cost."""
        self.counts.read += int(usage.get("prompt_tokens", 0))
        self.counts.written += int(usage.get("completion_tokens", 0))
        self.counts.predicted += requests
        self.spent.update({name: usage[name] for name in ("requests", "retries", "refused", "usd") if name in usage})

    def _group(
        self,
        requests: Sequence[Instance],
        settings: dict[str, Any],
        prompt: Callable[[str, int], Any],
        progress: Callable[[int], None],
    ) -> list[str]:
        """The texts of requests with the same settings."""
        asked = [prompt(request.args[0], int(settings["max_gen_toks"])) for request in requests]
        seeds = seeds_of(request.args[0] for request in requests) if settings["temperature"] else None
        stops = [*self._ends.strings, *settings["until"]]
        return [
            "" if isinstance(reply, Refusal) else postprocess_generated_text(reply.text, stops, None)
            for reply in self._ask(asked, self._body(settings), seeds, progress)
        ]

    def _body(self, settings: dict[str, Any]) -> dict[str, Any]:
        """lm-eval's generation settings as entries of a request; what an endpoint does not know, it refuses."""
        body = {name: value for name, value in settings.items() if name not in ("do_sample", "until", "max_gen_toks")}
        stops = [stop for stop in (*self._ends.strings, *settings["until"]) if stop][:STOPS]
        body |= {"max_tokens": settings["max_gen_toks"], **({"stop": stops} if stops else {})}
        # Stop strings do not find a special token, which servers leave out of the text.
        body |= {"stop_token_ids": self._ends.tokens} if self._ends.tokens else {}
        return {name: value for name, value in body.items() if name not in self._leave_out}

    def _ask(
        self,
        asked: Sequence[Any],
        body: Mapping[str, Any],
        seeds: Sequence[int] | None,
        progress: Callable[[int], None],
    ) -> list[EndpointReply | Refusal]:
        """One reply a request; the tokens of those that were kept count too: they were paid for once."""
        known = KeptReplies(self._folder, self._endpoint, body, self._kind)
        replies, usage = known.replies(asked, progress, seeds, send_seeds="seed" not in self._leave_out)
        self.count(usage, len(asked))
        self._check(replies)
        return replies

    def _check(self, replies: Sequence[EndpointReply | Refusal]) -> None:
        """EvaluationError where what the endpoint does not take is no matter of single questions."""
        refused = [reply for reply in replies if isinstance(reply, Refusal)]
        too_long = [reply.why for reply in refused if reply.too_long]
        if self._kind == "completions" and too_long:
            raise EvaluationError(
                "the endpoint has less room than the model's config says: set backend.max_length to what it serves "
                f"(vLLM: --max-model-len). It says: {too_long[0]}"
            )
        if refused and len(refused) == len(replies):
            raise EvaluationError(f"the endpoint takes none of {len(replies):,} prompts. It says: {refused[0].why}")


def _answer(reply: EndpointReply | Refusal) -> Written:
    if isinstance(reply, Refusal):
        return Written(0, None)
    return Written(reply.read, Reply(reply.text, reply.written, ended=not reply.cut))
