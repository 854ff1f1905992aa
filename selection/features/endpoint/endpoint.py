"""An OpenAI-compatible endpoint as a config: where it is, which model, how hard it may be asked, what it costs."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from siftune.selection.features.endpoint.endpoint_client import OpenEndpoint

OPENAI = "https://api.openai.com/v1"
PER_MILLION = 1e6


class EndpointError(ValueError):
    """An endpoint that cannot be used; the message names it, what it said and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A model behind an API of OpenAI's form: OpenAI itself, or vLLM, TEI, Ollama, llama.cpp, `transformers serve` ...

    What identifies a result is the model's name and `extra`. The rest is not part of it: `base_url` is a place, as a
    path is, and the same model served elsewhere gives the same answers as far as an endpoint ever does.
    """

    place: ClassVar[str] = "endpoint"
    """What the config calls it, for messages."""
    how_to_leave_out: ClassVar[str] = "a setting that the model does not take is left out by null"
    """What to do where a request has an entry too many, for messages."""

    model: str
    """The model's name as the endpoint knows it."""
    base_url: str = field(default=OPENAI, metadata={"identity": False})
    """What comes before /chat/completions and /embeddings; mostly ends in /v1."""
    api_key_env: str | None = field(default="OPENAI_API_KEY", metadata={"identity": False})
    """Name of the environment variable that holds the key, never the key; null: none is sent. A local server that
    wants no key does not mind one, nor a variable that is not set."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further entries of each request's body, e.g. {chat_template_kwargs: {enable_thinking: false}} for vLLM."""
    timeout: float = field(default=120.0, metadata={"identity": False})
    """Seconds to wait for one answer."""
    max_retries: int = field(default=10, metadata={"identity": False})
    """Times that a request is sent again after 408, 409, 429, 5xx, a timeout or a lost connection. The pauses double
    from 0.5 to 8 seconds or are those that the endpoint asks for (Retry-After): 10 outlast a limit per minute."""
    concurrency: int = field(default=8, metadata={"identity": False})
    """Requests that are under way at the same time."""
    input_price: float | None = field(default=None, metadata={"identity": False})
    """USD per million input tokens; null: what a run costs is not told."""
    output_price: float | None = field(default=None, metadata={"identity": False})
    """USD per million output tokens (embeddings have none)."""

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise ValueError(f"{self.place}.model must name a model")
        if not self.base_url.startswith(("http://", "https://")):
            raise ValueError(f"{self.place}.base_url={self.base_url} must begin with http:// or https://")
        if not (self.timeout > 0 and math.isfinite(self.timeout)):
            raise ValueError(f"{self.place}.timeout={self.timeout} must be a positive number of seconds")
        for name, least in (("max_retries", 0), ("concurrency", 1), ("input_price", 0), ("output_price", 0)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise ValueError(f"{self.place}.{name}={value} must be at least {least}")
        if self.output_price is not None and self.input_price is None:
            raise ValueError(
                f"{self.place}.output_price without {self.place}.input_price would tell half of the cost: give both"
            )

    @property
    def key(self) -> str | None:
        """The API key, where there is one."""
        return os.environ.get(self.api_key_env) or None if self.api_key_env else None

    def usd(self, input_tokens: float, output_tokens: float) -> float | None:
        """What so many tokens cost; None where a price is missing."""
        if self.input_price is None or (output_tokens and self.output_price is None):
            return None
        return (input_tokens * self.input_price + output_tokens * (self.output_price or 0.0)) / PER_MILLION

    def problem(self) -> str | None:
        """Why no request would succeed: no key, or nobody there. One small request that costs nothing."""
        if self.base_url.rstrip("/") == OPENAI and self.key is None:
            return f"{OPENAI} wants a key: {self.key_remedy()}"
        return self._client().problem()

    def require(self) -> None:
        """EndpointError where there is such a problem."""
        problem = self.problem()
        if problem is not None:
            raise EndpointError(problem)

    def open(self) -> OpenEndpoint:
        """A client, after a look whether the endpoint is there; EndpointError otherwise."""
        self.require()
        return self._client()

    def key_remedy(self) -> str:
        """What to do about a key that is missing or refused."""
        if self.api_key_env is None:
            return f"{self.place}.api_key_env must name the environment variable that holds it"
        if self.key is None:
            return f"set the environment variable {self.api_key_env} (or name another one by {self.place}.api_key_env)"
        return f"check the environment variable {self.api_key_env}"

    def _client(self) -> OpenEndpoint:
        from siftune.selection.features.endpoint.endpoint_client import OpenEndpoint

        return OpenEndpoint(self)
