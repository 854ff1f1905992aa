"""What an endpoint replied, kept by content: a request that was answered once is not paid for again."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from siftune.selection.features.endpoint.endpoint import Endpoint
from siftune.selection.features.endpoint.endpoint_errors import Refusal
from siftune.selection.features.endpoint.endpoint_replies import Reply

Asked = Sequence[Any]
"""The messages of a conversation, or the tokens of a prompt."""


class KeptReplies:
    """Replies in a file of JSON lines, one a model and its options, which any number of processes may add to."""

    def __init__(
        self,
        folder: Path,
        endpoint: Endpoint,
        options: Mapping[str, Any],
        kind: Literal["chat", "completions"] = "chat",
    ) -> None:
        self._endpoint = endpoint
        self._options = options
        self._kind = kind
        self._identity = {"model": endpoint.model, "body": {**endpoint.extra, **options}}
        name = "".join(sign if sign.isalnum() else "-" for sign in endpoint.model)
        self._path = folder / f"{name}-{_digest(self._identity)[:8]}.jsonl"
        self._known: dict[str, tuple[Reply, dict[str, int]]] = dict(_read(self._path))
        self._lock = threading.Lock()

    def replies(
        self,
        asked: Sequence[Asked],
        progress: Callable[[int], None] = lambda replies: None,
        seeds: Sequence[int] | None = None,
        *,
        send_seeds: bool = True,
    ) -> tuple[list[Reply | Refusal], dict[str, float]]:
        """One reply a request, asked for where there is none yet, and what all of them together have cost.

        With `seeds`, one a request, equal requests of different seeds are different ones, also where the endpoint is
        not told of them (`send_seeds`). EndpointError where the endpoint fails; the replies that were there by then are
        kept.
        """
        own: list[dict[str, Any]] = [{}] * len(asked) if seeds is None else [{"seed": seed} for seed in seeds]
        keys = [self._key(one, options) for one, options in zip(asked, own, strict=True)]
        wanted = dict(zip(keys, zip(asked, own, strict=True), strict=True))
        unknown = [key for key in wanted if key not in self._known]
        progress(len(keys) - len(unknown))
        refused: dict[str, Refusal] = {}
        if unknown:
            client = self._endpoint.open()
            ask = client.chat if self._kind == "chat" else client.complete
            found, _ = ask(
                [wanted[key][0] for key in unknown],
                [{**self._options, **(wanted[key][1] if send_seeds else {})} for key in unknown],
                progress,
                keep=lambda number, reply, usage: self._add(unknown[number], reply, usage),
            )
            refused = {key: one for key, one in zip(unknown, found, strict=True) if isinstance(one, Refusal)}
        return [refused[key] if key in refused else self._known[key][0] for key in keys], self._usage(wanted, refused)

    def _usage(self, wanted: Mapping[str, Any], refused: Mapping[str, Refusal]) -> dict[str, float]:
        total: Counter[str] = Counter(requests=0, prompt_tokens=0, completion_tokens=0)
        for key in wanted.keys() - refused.keys():
            total.update(self._known[key][1])
        usage = {name: float(count) for name, count in total.items()} | (
            {"refused": float(len(refused))} if refused else {}
        )
        usd = self._endpoint.usd(usage["prompt_tokens"], usage["completion_tokens"])
        return usage if usd is None else usage | {"usd": usd}

    def _key(self, asked: Asked, own: Mapping[str, Any]) -> str:
        return _digest({**self._identity, "messages" if self._kind == "chat" else "prompt": list(asked), **own})

    def _add(self, key: str, reply: Reply, usage: Mapping[str, int]) -> None:
        value = {"key": key, "text": reply.text, "cut": reply.cut, "first": dict(reply.first), "usage": dict(usage)}
        line = json.dumps(value, ensure_ascii=False) + "\n"
        with self._lock:
            self._known[key] = reply, dict(usage)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # One write to the end of the file: lines of several processes do not mix. The line feed before it ends
            # what a killed process left of a line; blank lines are skipped.
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(file, f"\n{line}".encode("utf-8", "surrogatepass"))
            finally:
                os.close(file)


def _read(path: Path) -> list[tuple[str, tuple[Reply, dict[str, int]]]]:
    found = []
    if path.is_file():
        with path.open("rb") as file:
            for line in file:
                try:
                    value = json.loads(line)
                except ValueError:
                    continue  # A blank line, or what a killed process has left of one, perhaps of a character.
                usage = value["usage"]
                read, written = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
                reply = Reply(value["text"], value["cut"], value["first"], read, written)
                found.append((value["key"], (reply, usage)))
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
