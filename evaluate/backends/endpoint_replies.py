"""Texts by an evaluated model behind an endpoint: kept as they come, and counted."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lm_eval.api.instance import Instance
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from tqdm import tqdm

from siftune.evaluate.backends.running import Written
from siftune.evaluate.kept_replies import KeptReplies
from siftune.evaluate.token_counts import TokenCounts
from siftune.finetune.decoding import Decoding
from siftune.finetune.generate import Reply
from siftune.selection.features.endpoint.endpoint import Endpoint
from siftune.selection.features.endpoint.endpoint_errors import Refusal
from siftune.selection.features.endpoint.endpoint_replies import Reply as EndpointReply

STOPS = 4
"""Stop strings of a request: OpenAI takes no more. Texts are cut here at all of them."""
DEFAULT_TOKENS = 256
"""Of a text, where a task does not say: lm-eval's own default."""


class EndpointReplies:
    """Asks an endpoint for texts; what it said before is not asked for again."""

    def __init__(
        self, endpoint: Endpoint, kind: Literal["chat", "completions"], folder: Path, leave_out: Sequence[str] = ()
    ) -> None:
        self._endpoint, self._kind, self._folder, self._leave_out = endpoint, kind, folder, leave_out
        self.counts = TokenCounts()
        self.spent: Counter[str] = Counter()

    def texts(self, requests: Sequence[Instance], prompt: Callable[[str, int], Any], progress: bool) -> list[str]:
        """Of lm-eval's requests (prompt, generation settings), in their order; empty for a prompt that is not taken.

        prompt: (text, tokens that may be written) -> what the endpoint is asked.
        """
        settings = [normalize_gen_kwargs(request.args[1], DEFAULT_TOKENS) for request in requests]
        groups: dict[str, list[int]] = {}
        for place, own in enumerate(settings):
            groups.setdefault(json.dumps(own, sort_keys=True), []).append(place)
        found: dict[int, str] = {}
        with tqdm(total=len(requests), desc="Requesting texts", disable=not progress) as bar:
            for places in groups.values():
                own = dict(settings[places[0]])
                asked = [prompt(requests[place].args[0], int(own["max_gen_toks"])) for place in places]
                seeds = _seeds(requests[place].args[0] for place in places) if own["temperature"] else None
                replies = self.ask(asked, _body(own), seeds, bar.update)
                texts = ["" if isinstance(reply, Refusal) else reply.text for reply in replies]
                cut = [postprocess_generated_text(text, list(own["until"]), None) for text in texts]
                found |= zip(places, cut, strict=True)
        return [found[place] for place in range(len(requests))]

    def answers(
        self, asked: Sequence[Any], decoding: Decoding, seeds: Sequence[int], stops: Sequence[str] = ()
    ) -> list[Written]:
        """Answers to open questions."""
        body: dict[str, Any] = {"max_tokens": decoding.max_new_tokens, "temperature": decoding.temperature}
        if decoding.temperature:
            body["top_p"] = decoding.top_p
        if stops:
            body["stop"] = list(stops)
        own_seeds = [_positive(seed) for seed in seeds] if decoding.temperature else None
        return [_answer(reply) for reply in self.ask(asked, body, own_seeds, lambda replies: None)]

    def ask(
        self,
        asked: Sequence[Any],
        body: Mapping[str, Any],
        seeds: Sequence[int] | None,
        progress: Callable[[int], None],
    ) -> list[EndpointReply | Refusal]:
        """One reply a request; the tokens of those that were kept count too: they were paid for once."""
        kept = {name: value for name, value in body.items() if name not in self._leave_out}
        known = KeptReplies(self._folder, self._endpoint, kept, self._kind)
        replies, usage = known.replies(asked, progress, None if "seed" in self._leave_out else seeds)
        self.count(usage, len(asked))
        return replies

    def count(self, usage: Mapping[str, float], requests: int) -> None:
        """Add what requests have cost."""
        self.counts.read += int(usage.get("prompt_tokens", 0))
        self.counts.written += int(usage.get("completion_tokens", 0))
        self.counts.predicted += requests
        self.spent.update({name: usage[name] for name in ("requests", "retries", "refused", "usd") if name in usage})


def _body(settings: dict[str, Any]) -> dict[str, Any]:
    """lm-eval's generation settings as entries of a request; what an endpoint does not know it refuses by itself."""
    own = {name: value for name, value in settings.items() if name not in ("do_sample", "until", "max_gen_toks")}
    stops = [stop for stop in settings["until"] if stop][:STOPS]
    return {**own, "max_tokens": settings["max_gen_toks"], **({"stop": stops} if stops else {})}


def _seeds(prompts: Iterable[str]) -> list[int]:
    """One a request: samples of one prompt differ, and are the same whatever is asked besides."""
    times: Counter[str] = Counter()
    seeds = []
    for prompt in prompts:
        digest = hashlib.sha256(f"{times[prompt]}:{prompt}".encode("utf-8", "surrogatepass")).digest()
        seeds.append(_positive(int.from_bytes(digest[:8], "big")))
        times[prompt] += 1
    return seeds


def _positive(seed: int) -> int:
    """Some servers take 32 bits with a sign."""
    return seed % 2**31


def _answer(reply: EndpointReply | Refusal) -> Written:
    if isinstance(reply, Refusal):
        return Written(0, None)
    return Written(reply.read, Reply(reply.text, reply.written, ended=not reply.cut))
