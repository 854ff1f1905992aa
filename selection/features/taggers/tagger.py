"""What every tagger has in common: a pool goes in, the tags of each of its rows come out, or why a row has none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from siftune.finetune.model_sources import Model, ModelRef
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.runtimes.runtime import Runtime
from siftune.selection.features.taggers.tag_normalisation import TagNormalisation
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool

TagText = Literal["first_query", "conversation"]
"""Which part of a row is tagged: the first user turn that has text; all turns' texts."""

NO_QUERY = "no user turn with text"


@dataclass(frozen=True)
class Tagged:
    """The tags of one row."""

    tags: tuple[str, ...]
    """All different, in the order found."""
    why: str | None = None
    """Why there is none; None where there are some."""


@dataclass(frozen=True)
class Tagging:
    """The tags of a pool's rows, and what they took."""

    rows: Iterable[Tagged]
    """One a pool row, in the pool's order; read once."""
    truncated: int = 0
    """Rows whose text was cut."""
    tokens: int = 0
    """Tokens that a model read or wrote."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """What else the tagger counted."""


@runtime_checkable
class Tagger(Protocol):
    """A tagger's config: a frozen dataclass that a conf/tagger/*.yaml names."""

    @property
    def name(self) -> str:
        """Shown in folder names and tables."""
        ...

    @property
    def model(self) -> Model | None:
        """The model that tags; None for a tagger that needs none."""
        ...

    @property
    def normalise(self) -> TagNormalisation | None:
        """What is done with the tags afterwards, in a stage of its own; None: nothing."""
        ...

    def inputs(self) -> dict[str, str]:
        """Digests of what it reads besides its model, for the fingerprint."""
        ...

    def tag(
        self, pool: Pool, reference: ModelRef | None, folder: Path, runtime: Runtime | None, progress: Progress
    ) -> Tagging:
        """Tag the pool; `reference` says where the model lies, `folder` keeps what a killed call has done."""
        ...


def text_to_tag(row: Row, text: TagText) -> str | None:
    """The part of a row that is tagged; None where it has none."""
    if text == "conversation":
        return "\n\n".join(turn["content"] for turn in row.messages if turn["content"].strip())
    queries = (turn["content"] for turn in row.messages if turn["role"] == "user")
    return next((query for query in queries if query.strip()), None)
