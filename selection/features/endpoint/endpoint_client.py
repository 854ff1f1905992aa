"""Requests to an OpenAI-compatible endpoint: several under way, answers in order, failures retried, all counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from siftune.selection.features.endpoint.endpoint import Endpoint, EndpointError
from siftune.selection.features.endpoint.endpoint_errors import SAID, Refusal, explained, refusal_of
from siftune.selection.features.endpoint.endpoint_replies import (
    Reply,
    TokenScores,
    Usage,
    read_completion,
    read_reply,
    read_scores,
    read_vectors,
)

MALFORMED_RETRIES = 2
"""Times that a request is sent again whose answer came with status 200 and is not what was asked for."""
PAUSE = 0.5
"""Seconds before that."""
LOOK_SECONDS = 10.0
"""Patience of the look whether an endpoint is there."""
_NO_KEY = "none"
"""The library insists on a key; servers that want none ignore it."""

Result = TypeVar("Result")
Messages = Sequence[Mapping[str, str]]
Options = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""Entries of a request's body (temperature, max_tokens ...): the same for every request, or one mapping a request."""
Progress = Callable[[int], None]
Keep = Callable[[int, Reply, Mapping[str, int]], None]


class OpenEndpoint:
    """A client of an endpoint. After an error it is closed: what is still under way would be paid for nothing."""

    def __init__(self, endpoint: Endpoint) -> None:
        # Imported here, so that reading a config stays fast.
        from openai import OpenAI

        self._endpoint = endpoint
        self._client = OpenAI(
            api_key=endpoint.key or _NO_KEY,
            base_url=endpoint.base_url,
            timeout=endpoint.timeout,
            max_retries=endpoint.max_retries,
        )

    def problem(self) -> str | None:
        """Why no request would succeed; None also where the endpoint does not list its models."""
        import openai

        try:
            self._client.with_options(max_retries=0, timeout=LOOK_SECONDS).models.with_raw_response.list()
        except openai.APITimeoutError:
            return f"{self._endpoint.base_url} did not answer within {LOOK_SECONDS:g} seconds: is the server running?"
        except (openai.APIConnectionError, openai.AuthenticationError) as error:
            return explained(error, self._endpoint)
        except openai.APIStatusError:
            return None
        return None

    def chat(
        self,
        conversations: Sequence[Messages],
        options: Options,
        progress: Progress = lambda replies: None,
        keep: Keep = lambda number, reply, usage: None,
    ) -> tuple[list[Reply | Refusal], dict[str, float]]:
        """One reply a conversation, in their order, and the usage: requests, retries, tokens, and usd with prices.

        A conversation that the endpoint does not take (too long, filtered) has a Refusal. `progress` is told how many
        more replies there are. `keep` is given each reply as soon as it is there, with its place and usage, by the
        thread that asked for it.
        """

        def ask(item: tuple[Messages, Mapping[str, Any]]) -> Any:
            turns: list[Any] = [dict(message) for message in item[0]]
            return self._client.chat.completions.with_raw_response.create(
                model=self._endpoint.model, messages=turns, extra_body={**self._endpoint.extra, **item[1]}
            )

        return self._replies(conversations, options, ask, read_reply, progress, keep)

    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        options: Options,
        progress: Progress = lambda replies: None,
        keep: Keep = lambda number, reply, usage: None,
    ) -> tuple[list[Reply | Refusal], dict[str, float]]:
        """What the model writes after each prompt, given as its tokens; the rest as of `chat`."""
        return self._replies(prompts, options, self._ask_completion, read_completion, progress, keep)

    def score(
        self, prompts: Sequence[Sequence[int]], progress: Progress = lambda prompts: None
    ) -> tuple[list[TokenScores | Refusal], dict[str, float]]:
        """The log-probability of every token of each prompt but its first, and the usage.

        This is the form of /completions that lm-eval asks for: the prompt is echoed with its log-probabilities, and one
        more token, which the endpoint insists on, is written.
        """
        echoed = {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
        items = [(prompt, echoed) for prompt in prompts]
        return self._answers(items, self._ask_completion, read_scores, lambda scores: progress(1))

    def _ask_completion(self, item: tuple[Sequence[int], Mapping[str, Any]]) -> Any:
        return self._client.completions.with_raw_response.create(
            model=self._endpoint.model, prompt=list(item[0]), extra_body={**self._endpoint.extra, **item[1]}
        )

    def _replies(
        self,
        asked: Sequence[Any],
        options: Options,
        ask: Callable[[Any], Any],
        read: Callable[[str, Any], tuple[Reply, Usage]],
        progress: Progress,
        keep: Keep,
    ) -> tuple[list[Reply | Refusal], dict[str, float]]:
        def kept(number: int, reply: Reply | Refusal, usage: Mapping[str, int]) -> None:
            if isinstance(reply, Reply):
                keep(number, reply, usage)

        each = [options] * len(asked) if isinstance(options, Mapping) else options
        return self._answers(list(zip(asked, each, strict=True)), ask, read, lambda reply: progress(1), kept)

    def embed(
        self,
        batches: Sequence[Sequence[str]],
        dimensions: int | None = None,
        progress: Progress = lambda texts: None,
    ) -> tuple[list[np.ndarray | Refusal], dict[str, float]]:
        """(m, d) float32 of each batch of m texts, in their order, and the usage; a Refusal for a batch not taken."""
        width = {} if dimensions is None else {"dimensions": dimensions}

        def ask(texts: Sequence[str]) -> Any:
            # "float" is understood everywhere; the library's own choice, base64, is not.
            return self._client.embeddings.with_raw_response.create(
                model=self._endpoint.model,
                input=list(texts),
                encoding_format="float",
                extra_body={**self._endpoint.extra, **width},
            )

        def told(answer: np.ndarray | Refusal) -> None:
            if not isinstance(answer, Refusal):
                progress(len(answer))

        return self._answers(batches, ask, read_vectors, told)

    def _answers(
        self,
        items: Sequence[Any],
        ask: Callable[[Any], Any],
        read: Callable[[str, Any], tuple[Result, Usage]],
        told: Callable[[Result | Refusal], None],
        keep: Callable[[int, Result | Refusal, Mapping[str, int]], None] = lambda number, result, usage: None,
    ) -> tuple[list[Result | Refusal], dict[str, float]]:
        def answer(number: int, item: Any) -> tuple[Result | Refusal, Counter[str]]:
            result, usage = self._answer(item, ask, read)
            keep(number, result, usage)
            return result, usage

        pool = ThreadPoolExecutor(self._endpoint.concurrency, thread_name_prefix="endpoint")
        futures = [pool.submit(answer, number, item) for number, item in enumerate(items)]
        try:
            for future in as_completed(futures):
                told(future.result()[0])
        except BaseException:
            # Those that wait for their next try find a closed client and end.
            pool.shutdown(wait=False, cancel_futures=True)
            self._client.close()
            raise
        pool.shutdown()
        answers = [future.result() for future in futures]
        return [answer for answer, _ in answers], self._total(counts for _, counts in answers)

    def _answer(
        self, item: Any, ask: Callable[[Any], Any], read: Callable[[str, Any], tuple[Result, Usage]]
    ) -> tuple[Result | Refusal, Counter[str]]:
        from openai import APIError

        counts: Counter[str] = Counter()
        for left in reversed(range(MALFORMED_RETRIES + 1)):
            try:
                raw = ask(item)
            except APIError as error:
                refusal = refusal_of(error)
                if refusal is None:
                    raise EndpointError(explained(error, self._endpoint)) from error
                return refusal, counts + Counter(refused=1)
            counts.update(requests=1, retries=raw.retries_taken)
            try:
                result, usage = read(raw.text, item)
            except ValueError as error:
                if not left:
                    raise EndpointError(self._malformed(raw.text, error)) from error
                counts.update(retries=1)
                time.sleep(PAUSE)
            else:
                counts.update(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)
                return result, counts
        raise AssertionError("the last try returns or raises")

    def _malformed(self, text: str, error: ValueError) -> str:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        return (
            f"{self._endpoint.base_url} answers, but not as an OpenAI-compatible endpoint does, "
            f"{MALFORMED_RETRIES + 1} times in a row ({why}): {text[:SAID]!r}. Check {self._endpoint.place}.base_url "
            "and the model"
        )

    def _total(self, counted: Any) -> dict[str, float]:
        total: Counter[str] = Counter()
        for counts in counted:
            total.update(counts)
        usage: dict[str, float] = {name: float(count) for name, count in total.items()}
        usd = self._endpoint.usd(usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))
        return usage if usd is None else usage | {"usd": usd}
