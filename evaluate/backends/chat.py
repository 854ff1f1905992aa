"""The evaluated model behind /chat/completions: it is given turns, and its tokens are not known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from siftune.evaluate.backends.config import ChatEndpoint
from siftune.evaluate.backends.endpoint_replies import EndpointReplies
from siftune.evaluate.backends.running import Written
from siftune.evaluate.tasks import EvaluationError
from siftune.finetune.chat import Message
from siftune.finetune.decoding import Decoding

NO_SCORES = "a chat endpoint does not tell how likely given tokens are"


class ChatModel:
    """A chat model behind an endpoint (`Running`)."""

    keeps_replies = True

    def __init__(self, backend: ChatEndpoint, replies: Path) -> None:
        backend.require()
        self._replies = EndpointReplies(backend, "chat", replies, leave_out=backend.leave_out)
        self.counts = self._replies.counts
        self.lm = ChatLM(backend.model, self._replies)

    def writer(self, decoding: Decoding) -> ChatWriter:
        """See `Running`."""
        return ChatWriter(self._replies, decoding)

    def spent(self) -> Mapping[str, float]:
        """See `Running`."""
        return dict(self._replies.spent)


class ChatWriter:
    """Answers to open questions (`Writer`)."""

    def __init__(self, replies: EndpointReplies, decoding: Decoding) -> None:
        self._replies, self._decoding = replies, decoding

    def write(self, conversations: Sequence[Sequence[Message]], seeds: Sequence[int]) -> list[Written]:
        """See `Writer`."""
        return self._replies.answers(conversations, self._decoding, seeds)


class ChatLM(LM):
    """A chat model as lm-eval's harness calls it; prompts are conversations, as JSON."""

    def __init__(self, name: str, replies: EndpointReplies) -> None:
        super().__init__()
        self._name, self._replies = name, replies

    @property
    def tokenizer_name(self) -> str:
        """The model's: the endpoint has the chat template."""
        return self._name

    def chat_template(self, chat_template: bool | str = False) -> str:
        """The endpoint's, which is not known."""
        return ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The turns; where the last one is the assistant's, the model is to go on with it."""
        return json.dumps(chat_history, ensure_ascii=False)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The texts, cut at their stop strings."""
        return self._replies.texts(
            requests, lambda prompt, tokens: json.loads(prompt), progress=not disable_tqdm, extra=_going_on
        )

    def loglikelihood(self, requests: list[Instance]) -> NoReturn:
        """Never asked: such tasks are refused."""
        raise EvaluationError(NO_SCORES)

    def loglikelihood_rolling(self, requests: list[Instance]) -> NoReturn:
        """Never asked: such tasks are refused."""
        raise EvaluationError(NO_SCORES)


def _going_on(prompt: str) -> dict[str, bool]:
    """What vLLM is told where the last turn is an assistant's that has begun."""
    begun = json.loads(prompt)[-1]["role"] == "assistant"
    return {"continue_final_message": True, "add_generation_prompt": False} if begun else {}
