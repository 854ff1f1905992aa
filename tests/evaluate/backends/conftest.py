"""A server of OpenAI's form around the tiny model: what it says is what the model says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import torch

from siftune.finetune.chat import encode_text
from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import ModelRef


class Served:
    """/completions and /chat/completions of a model, one request at a time."""

    def __init__(self, ref: ModelRef) -> None:
        self._tokenizer, self._model = load_tokenizer(ref), load_causal_lm(ref)
        self._lock = threading.Lock()
        self.bodies: list[dict[str, Any]] = []
        self.room = 2048
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    @torch.inference_mode()
    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.bodies.append(body)
        if len(body.get("prompt", ())) + body["max_tokens"] > self.room:
            raise ValueError(f"This model's maximum context length is {self.room} tokens")
        if path.endswith("/chat/completions"):
            text = self._tokenizer.apply_chat_template(
                body["messages"],
                tokenize=False,
                add_generation_prompt=body.get("add_generation_prompt", True),
                continue_final_message=body.get("continue_final_message", False),
            )
            prompt = encode_text(self._tokenizer, text)["input_ids"]
            written, reason = self._write(prompt, body)
            choice: dict[str, Any] = {"message": {"role": "assistant", "content": self._decode(written)}}
        else:
            prompt = body["prompt"]
            written, reason = self._write(prompt, body)
            echoed = [*prompt, *written] if body.get("echo") else written
            choice = {"text": self._decode(echoed)}
            if body.get("echo"):
                choice["logprobs"] = self._logprobs(echoed)
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(written)}
        return {"choices": [{"index": 0, "finish_reason": reason, **choice}], "usage": usage}

    def _write(self, prompt: list[int], body: dict[str, Any]) -> tuple[list[int], str]:
        ids, generator = list(prompt), torch.Generator().manual_seed(body.get("seed", 0))
        while len(ids) < len(prompt) + body["max_tokens"]:
            logits = self._model(torch.tensor([ids])).logits[0, -1].double()
            if body["temperature"]:
                chances = (logits / body["temperature"]).softmax(-1)
                ids.append(int(torch.multinomial(chances, 1, generator=generator)))
            else:
                ids.append(int(logits.argmax()))
            said = self._decode(ids[len(prompt) :])
            ends = [self._tokenizer.eos_token_id, *body.get("stop_token_ids", ())]
            if any(stop in said for stop in body.get("stop", ())) or ids[-1] in ends:
                return ids[len(prompt) :], "stop"
        return ids[len(prompt) :], "length"

    def _logprobs(self, ids: list[int]) -> dict[str, Any]:
        logprobs = self._model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        own = [float(logprobs[place, token]) for place, token in enumerate(ids[1:])]
        # As vLLM sends it: the likeliest token and the prompt's own.
        top = [
            {str(int(row.argmax())): float(row.max()), str(token): mine}
            for row, token, mine in zip(logprobs, ids[1:], own, strict=False)
        ]
        return {"token_logprobs": [None, *own], "top_logprobs": [None, *top]}

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send({"object": "list", "data": []})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    with served._lock:
                        answer = served.answer(self.path, body)
                except ValueError as error:
                    self._send({"error": {"message": str(error)}}, 400)
                else:
                    self._send(answer)

            def _send(self, answer: Any, status: int = 200) -> None:
                raw = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        return Handler


@pytest.fixture
def served(tiny: ModelRef, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The tiny model behind an endpoint."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    made = Served(tiny)
    yield made
    made.close()
