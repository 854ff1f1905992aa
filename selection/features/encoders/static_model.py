"""Static embeddings by model2vec: the part of the encoder that runs the library."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from huggingface_hub import snapshot_download
from model2vec import StaticModel

from siftune.finetune.model import explained
from siftune.selection.features.encoders.encoder import EncodedBlock, Progress, Text
from siftune.selection.features.encoders.sentence import text_of
from siftune.selection.pool.rows import Row

BATCH_TEXTS = 256
"""Texts that a thread takes at a time. The vectors of all tokens of those with equally many exist at once: at most
134 MB a thread for 256 dimensions and texts of 512 tokens. More texts are slower."""

CHUNK_TEXTS = 4096
"""Texts after which progress is told."""

FILES = ["*.json", "*.safetensors"]
"""What is downloaded of a model."""

PARALLELISM = "TOKENIZERS_PARALLELISM"


class CountingModel(StaticModel):
    """A static model that cuts texts after `limit` tokens, and counts what it averages and what it cuts.

    The library itself first cuts characters, `limit` times the median length of the vocabulary's tokens, and counts
    nothing.
    """

    def cut_at(self, limit: int | None) -> None:
        """Take over the cut, and begin to count."""
        self.limit = limit
        # Otherwise the library warns of a limit that is not its config's.
        self.config["max_length"] = None
        self.max_length = None
        self.counts: list[tuple[int, int]] = []
        """(tokens, cut texts) of each batch; threads append to it."""

    def tokenize(self, sentences: Sequence[str]) -> list[list[int]]:
        """The texts' tokens, cut."""
        full = super().tokenize(sentences)
        cut = [ids[: self.limit] for ids in full]
        truncated = sum(len(ids) > len(kept) for ids, kept in zip(full, cut, strict=True))
        self.counts.append((sum(map(len, cut)), truncated))
        return cut


class OpenStaticEncoder:
    """A loaded static model."""

    def __init__(self, model: CountingModel, text: Text) -> None:
        self.dimension = int(model.dim)
        self._model = model
        self._text: Text = text

    def encode(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> EncodedBlock:
        """(n, d) vectors, on as many threads as there are cores; zeros for a text without a token of the vocabulary."""
        self._model.counts.clear()
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        for start in range(0, len(rows), CHUNK_TEXTS):
            texts = [text_of(row, self._text) for row in rows[start : start + CHUNK_TEXTS]]
            with _kept(PARALLELISM):
                vectors[start : start + len(texts)] = self._model.encode(
                    texts, max_length=None, batch_size=BATCH_TEXTS, multiprocessing_threshold=BATCH_TEXTS
                )
            progress(len(texts))
        tokens, truncated = (sum(column) for column in zip(*self._model.counts, strict=True))
        return EncodedBlock(vectors, truncated, tokens, tokens)


def open_static(path: str, revision: str | None, text: Text, max_length: int | None) -> OpenStaticEncoder:
    """The model of a folder or of the hub; `max_length` None takes the model's own."""
    with explained(path):
        folder = path if Path(path).is_dir() else snapshot_download(path, revision=revision, allow_patterns=FILES)
        model = CountingModel.from_pretrained(folder)
    model.cut_at(max_length or model.max_length)
    return OpenStaticEncoder(model, text)


@contextmanager
def _kept(name: str) -> Iterator[None]:
    """What the environment says of `name` inside the block is undone: the library turns tokenizers' threads off for its
    own, and leaves it at that."""
    before = os.environ.get(name)
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before
