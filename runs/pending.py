"""What stands, in a plan, for artifacts that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np

from siftune.runs.artifacts import Artifact, Key

UNKNOWN = "unknown"
"""In place of an input's fingerprint that depends on what an earlier stage will find."""


class NotComputedError(Exception):
    """A plan asked for numbers that a stage has yet to compute."""


class PendingArray:
    """An array that will be there: it can be handed on, and not looked into."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> NoReturn:
        raise NotComputedError(self._name)

    def __array__(self, *arguments: Any, **options: Any) -> NoReturn:
        raise NotComputedError(self._name)

    def __getitem__(self, key: Any) -> NoReturn:
        raise NotComputedError(self._name)

    def __len__(self) -> NoReturn:
        raise NotComputedError(self._name)


class PendingArtifact(Artifact):
    """A stage that a plan has passed."""

    @classmethod
    def of(cls, key: Key, store: Path) -> PendingArtifact:
        """The artifact that the stage will leave in the store."""
        record = {"kind": key.kind, "name": key.name, "fingerprint": key.fingerprint, "seconds": 0.0, "summary": {}}
        return cls(key.folder(store), record, cached=False)

    @property
    def content(self) -> Path:
        """NotComputedError."""
        raise NotComputedError(f"{self.record['kind']} {self.record['name']}")

    def array(self, name: str) -> np.ndarray:
        """Stands for the array."""
        return cast(np.ndarray, PendingArray(f"{self.record['kind']} {self.record['name']}: {name}"))
