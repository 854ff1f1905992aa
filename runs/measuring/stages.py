"""How diverse sets of rows are: each set's measures are computed once."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from siftune.runs.artifacts import Artifact, Stage, write_json
from siftune.runs.cost import Cost
from siftune.runs.workspace import StoredPool, Workspace
from siftune.selection.features.restriction import restrict
from siftune.selection.interface import Features
from siftune.selection.measures.settings import MeasureSettings
from siftune.selection.pool.texts import PoolTexts

if TYPE_CHECKING:
    from siftune.selection.diversity import Reference

REASONS_FILE = "reasons.json"


class Vectors(Protocol):
    """Embeddings and what names them: an artifact of the stage `embeddings`, or a file (`GivenVectors`)."""

    @property
    def fingerprint(self) -> str: ...

    def array(self, name: str) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class GivenVectors:
    """Embeddings that were computed elsewhere."""

    fingerprint: str
    """Of the file's contents."""
    values: np.ndarray
    """(n, d)."""

    def array(self, name: str) -> np.ndarray:
        """The embeddings."""
        return self.values


class DiversityMeter:
    """Measures any number of sets of one pool's rows; what they share of the reference is computed once."""

    def __init__(
        self,
        workspace: Workspace,
        pool: StoredPool,
        embeddings: Vectors | None,
        reference: Vectors | None,
        settings: MeasureSettings,
    ) -> None:
        """
        Parameters
        ----------
        embeddings: (n, d) of the pool's rows; None where only texts are measured.
        reference: (r, d) rows by the same encoder that densities and coverage refer to; None: the pool's.
        """
        self._workspace = workspace
        self._pool = pool
        self._embeddings = embeddings
        self._reference = reference or embeddings
        self._settings = settings

    def measure(self, indices: np.ndarray | None = None) -> Artifact:
        """The measures of these rows (k,) int64, in any order, a row as often as it is named; None: of all.

        An artifact of the kind "diversity", whose summary is measure -> value, NaN where the set has none (why is in
        reasons.json). Texts are whole conversations, all turns.
        """
        rows = np.arange(len(self._pool.pool)) if indices is None else np.sort(indices)

        def build(folder: Path) -> Mapping[str, Any]:
            with self._workspace.console.kernels(), self._workspace.runtime.spread():
                features = self._features(rows)
                found = self._prepared.examine(features.embeddings, features.texts)
            write_json(folder / REASONS_FILE, {name: item.reason for name, item in found.items() if item.reason})
            return {name: item.value for name, item in found.items()}

        stage = Stage(
            kind="diversity",
            name=f"{self._pool.artifact.record['name']}-{len(rows)}",
            config=dataclasses.replace(self._settings, names=self._settings.chosen),
            inputs=self._inputs(rows),
            build=build,
            cost=partial(Cost, rows=len(rows)),
        )
        return self._workspace.ensure(stage)

    @cached_property
    def _prepared(self) -> Reference:
        from siftune.selection.diversity import Reference

        return Reference(None if self._reference is None else self._reference.array("embeddings"), self._settings)

    def _features(self, rows: np.ndarray) -> Features:
        embeddings = None if self._embeddings is None else self._embeddings.array("embeddings")
        features = Features(size=len(self._pool.pool), embeddings=embeddings, texts=PoolTexts(self._pool.pool))
        return features if np.array_equal(rows, np.arange(features.size)) else restrict(features, rows)

    def _inputs(self, rows: np.ndarray) -> dict[str, str]:
        given = {"embeddings": self._embeddings, "reference": self._reference}
        inputs = {name: vectors.fingerprint for name, vectors in given.items() if vectors is not None}
        digest = hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
        return {"pool": self._pool.fingerprint, "rows": digest, **inputs}
