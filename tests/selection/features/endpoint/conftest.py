"""An OpenAI-compatible server in this process, whose failures a test scripts."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai._base_client
import pytest

from siftune.selection.features.endpoint import endpoint_client
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.store import Pool, build_pool


@dataclass
class Answer:
    """What the server does with one request in place of answering it properly."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


class Server:
    """Replies with `reply(content of the last message)` and embeds texts into `vector(text)`.

    `answers`, as long as there are any, are given in place of that, one a request; `always`, where set, to all.
    """

    def __init__(self) -> None:
        self.reply: Callable[[str], str] = lambda content: "Rating: 7"
        self.always: Callable[[dict[str, Any]], Answer | None] = lambda body: None
        self.answers: list[Answer] = []
        self.shuffled = False
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.times: list[float] = []
        self.answered = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    Answer = Answer

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    @staticmethod
    def settle() -> None:
        """Wait for what a failed client had under way."""
        for thread in threading.enumerate():
            if thread.name.startswith("endpoint"):
                thread.join(timeout=10)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, body, _ in self.requests]

    @staticmethod
    def vector(text: str) -> list[float]:
        """Four numbers made of the text."""
        return [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:4]]

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        with self._lock:
            scripted = self.answers.pop(0) if self.answers else None
        scripted = scripted or self.always(body)
        if scripted is not None:
            return scripted
        content = self._completion(body) if path.endswith("/chat/completions") else self._embeddings(body)
        with self._lock:
            self.answered += 1
        return Answer(body=content)

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        content = body["messages"][-1]["content"]
        text = self.reply(content)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return {"choices": [choice], "usage": {"prompt_tokens": len(content.split()), "completion_tokens": 2}}

    def _embeddings(self, body: dict[str, Any]) -> dict[str, Any]:
        data = [{"index": i, "embedding": self.vector(text)} for i, text in enumerate(body["input"])]
        words = sum(len(text.split()) for text in body["input"])
        return {"data": data[::-1] if self.shuffled else data, "usage": {"prompt_tokens": words, "total_tokens": words}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(Answer(body={"object": "list", "data": []}))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    server.requests.append((self.path, body, headers))
                    server.times.append(time.monotonic())
                    server.in_flight += 1
                    server.most_in_flight = max(server.most_in_flight, server.in_flight)
                answer = server.answer(self.path, body)
                with server._lock:
                    server.in_flight -= 1
                self._send(answer)

            def _send(self, answer: Answer) -> None:
                if answer.drop:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                headers = {"Content-Type": "application/json", "Content-Length": str(len(raw)), **answer.headers}
                try:
                    self.send_response(answer.status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(raw)
                except OSError:
                    pass  # The client has given up on an answer that came too late.

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A fresh server; pauses between tries are short."""
    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr(openai._base_client, "MAX_RETRY_DELAY", 0.02)
    monkeypatch.setattr(endpoint_client, "PAUSE", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    made = Server()
    yield made
    made.close()


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """200 rows: question I, answer I."""
    folder = tmp_path_factory.mktemp("endpoint")
    turns = [
        [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": f"answer {i}"}]
        for i in range(200)
    ]
    lines = "\n".join(json.dumps({"messages": messages}) for messages in turns)
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    build_pool(FilePool(name="made", path=str(Path(folder / "rows.jsonl"))), folder / "pool")
    return Pool.open(folder / "pool")
