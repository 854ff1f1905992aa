"""Static embeddings: the mean of a row's token vectors out of a table, with no network to run (model2vec)."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from siftune.finetune.digests import folder_digest
from siftune.finetune.model_sources import HubModel, ModelRef
from siftune.selection.features.encoders.encoder import OpenEncoder, Storage, Text
from siftune.selection.features.encoders.sentence import located


@dataclass(frozen=True, kw_only=True)
class StaticEncoder:
    """A model2vec model; it sees the turns' texts, a blank line between them, without a chat template.

    Word order does not matter to it, and it encodes thousands of rows a second on a CPU: for pools of millions of rows,
    or for a first look.
    """

    shard_rows: ClassVar[int] = 8192
    """Thousands of rows take a second."""

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""
    path: str = field(metadata={"identity": False})
    """Hub id, local folder, or package:IMPORT_NAME/FOLDER for a model that an installed Python package carries."""
    revision: str | None = field(default=None, metadata={"identity": False})
    """Branch, tag or commit on the hub; null: main."""
    text: Text = "conversation"
    """conversation: every turn. prompt: the turns before the final answer. response: the final answer."""
    max_length: int | None = None
    """Tokens beyond which a row is cut on the right; null: the model's own limit (potion: 512)."""
    storage: Storage = "float32"
    """Number format of the stored vectors; float16 halves the disk that they take."""

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"encoder.max_length={self.max_length} must be at least 1")
        if importlib.util.find_spec("model2vec") is None:
            raise ValueError(f"encoder={self.name} needs the library model2vec: `pip install model2vec`")

    @property
    def model(self) -> None:
        """None: it brings its own model."""
        return None

    def inputs(self) -> dict[str, str]:
        """Digest of the model's files, or its commit on the hub."""
        path = located(self.path)
        if Path(path).is_dir():
            return {"encoder": folder_digest(Path(path))}
        return {"encoder": HubModel(name=self.name, path=path, revision=self.revision).inputs()["model"]}

    def open(self, reference: ModelRef | None) -> OpenEncoder:
        """Load it; `reference` is not used."""
        # Imported here, so that reading a config does not load torch.
        from siftune.selection.features.encoders.static_model import open_static

        return open_static(located(self.path), self.revision, self.text, self.max_length)
