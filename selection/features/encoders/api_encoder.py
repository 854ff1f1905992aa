"""Embeddings by an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from siftune.finetune.model_sources import ModelRef
from siftune.selection.features.checks import require_at_least
from siftune.selection.features.encoders.encoder import EncodedBlock, OpenEncoder, Progress, Storage, Text
from siftune.selection.features.encoders.sentence import text_of
from siftune.selection.features.endpoint.endpoint import Endpoint, EndpointError
from siftune.selection.features.endpoint.endpoint_client import OpenEndpoint
from siftune.selection.features.endpoint.endpoint_errors import Refusal
from siftune.selection.pool.rows import Row

SHORTER = 0.75
"""What is kept of a text that the endpoint calls too long, again and again until it does not."""
LEAST = 16
"""Characters of which no endpoint can say so."""


@dataclass(frozen=True, kw_only=True)
class EndpointEncoder:
    """A model behind an embeddings API; it sees the turns' texts, a blank line between them."""

    shard_rows: ClassVar[int] = 256
    """Eight requests of the default size: what is under way at once, and at most paid for twice after a kill."""

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""
    endpoint: Endpoint
    """The model and where it is."""
    text: Text = "conversation"
    """conversation: every turn. prompt: the turns before the final answer. response: the final answer."""
    prompt: str | None = None
    """Text put before each row's, as models with an instruction prefix want it (E5: "query: "); null: none."""
    dimensions: int | None = None
    """Numbers of a vector, where the model lets one choose (OpenAI's text-embedding-3); null: its own."""
    max_characters: int | None = 30000
    """Characters beyond which a text is cut on the right; null: none is cut before the endpoint asks for it.
    How many tokens fit only the endpoint knows: what it calls too long is cut further (see SHORTER); cut rows are
    counted. 30,000 characters of English are some 7,500 of the 8,191 tokens that text-embedding-3 takes."""
    storage: Storage = "float32"
    """Number format in which the vectors are stored."""
    batch_size: int = field(default=32, metadata={"identity": False})
    """Texts a request: TEI takes 32 as it is started by default, Cohere 96, OpenAI 2,048 and 300,000 tokens."""

    def __post_init__(self) -> None:
        require_at_least(self, "encoder", dimensions=1, max_characters=LEAST, batch_size=1)

    @property
    def model(self) -> None:
        """None: the endpoint has the model."""
        return None

    def inputs(self) -> dict[str, str]:
        """Nothing: the model's name is in the config, and its weights cannot be seen from here."""
        return {}

    def open(self, reference: ModelRef | None) -> OpenEncoder:
        """Look whether the endpoint is there; `reference` is not used."""
        return OpenEndpointEncoder(self, self.endpoint.open())


class OpenEndpointEncoder:
    """An endpoint that was found to be there."""

    def __init__(self, config: EndpointEncoder, client: OpenEndpoint) -> None:
        self._config = config
        self._client = client

    @cached_property
    def dimension(self) -> int:
        """Numbers of a vector; takes a request of one word."""
        vectors = self._client.embed([["word"]], self._config.dimensions)[0][0]
        if isinstance(vectors, Refusal):
            raise EndpointError(f"{self._config.endpoint.base_url} does not embed a single word: {vectors.why}")
        return self._checked(vectors).shape[1]

    def encode(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> EncodedBlock:
        """(n, d) vectors; as many requests at a time as the endpoint's `concurrency` says."""
        config = self._config
        texts = [self._text(row) for row in rows]
        shortened = {i for i, text in enumerate(texts) if len(text) > (config.max_characters or len(text))}
        texts = [text[: config.max_characters] for text in texts]
        waiting = [list(range(len(rows)))[i : i + config.batch_size] for i in range(0, len(rows), config.batch_size)]
        found: dict[int, np.ndarray] = {}
        usage: Counter[str] = Counter()
        while waiting:
            batches = [[texts[i] for i in batch] for batch in waiting]
            answers, counted = self._client.embed(batches, config.dimensions, progress)
            usage.update(counted)
            following = []
            for batch, answer in zip(waiting, answers, strict=True):
                if isinstance(answer, Refusal):
                    following += self._smaller(batch, answer, rows, texts, shortened)
                else:
                    found.update(zip(batch, self._checked(answer), strict=True))
            waiting = following
        tokens = int(usage["prompt_tokens"])
        return EncodedBlock(self._stacked(found), len(shortened), tokens, tokens, dict(usage))

    def _text(self, row: Row) -> str:
        # OpenAI refuses an empty text, which the prompt of a row that begins with the assistant is.
        return (self._config.prompt or "") + text_of(row, self._config.text) or " "

    def _smaller(
        self, batch: list[int], refusal: Refusal, rows: Sequence[Row], texts: list[str], shortened: set[int]
    ) -> list[list[int]]:
        """What to ask for instead of a batch that was refused: its halves, or its only text cut shorter."""
        if len(batch) > 1:
            return [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
        (only,) = batch
        if not refusal.too_long or len(texts[only]) <= LEAST:
            where = f"row {rows[only].id} ({rows[only].source})"
            raise EndpointError(f"{where} is refused by {self._config.endpoint.base_url}: {refusal.why}")
        texts[only] = texts[only][: int(SHORTER * len(texts[only]))]
        shortened.add(only)
        return [batch]

    def _checked(self, vectors: np.ndarray) -> np.ndarray:
        wanted = self._config.dimensions
        if wanted is not None and vectors.shape[1] != wanted:
            raise EndpointError(
                f"{self._config.endpoint.base_url} gives {vectors.shape[1]} numbers for encoder.dimensions={wanted}: "
                "its model does not let one choose, set it to null"
            )
        return vectors

    def _stacked(self, found: dict[int, np.ndarray]) -> np.ndarray:
        widths = sorted({len(vector) for vector in found.values()})
        if len(widths) > 1:
            raise EndpointError(
                f"{self._config.endpoint.base_url} gives vectors of different lengths ({', '.join(map(str, widths))}): "
                "are several models behind it?"
            )
        return np.stack([found[i] for i in range(len(found))])
