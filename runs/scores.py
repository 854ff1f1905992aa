"""A selector's scores: given as files, columns of the pool, or siftune's own scorers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from siftune.runs.build import ConfigError
from siftune.runs.config import SignalsConfig
from siftune.runs.options import shipped_scorers
from siftune.runs.workspace import StoredPool, Workspace, array
from siftune.selection.features.arrays import GivenArrays
from siftune.selection.features.scorers.scorer import Scorer
from siftune.selection.features.scorers.scoring import REASONS_FILE

_NAMED = 3


class Scores:
    """Finds each score where it is to be had, the cheapest place first."""

    def __init__(
        self,
        workspace: Workspace,
        config: SignalsConfig,
        pool: StoredPool,
        given: GivenArrays,
        inputs: dict[str, str],
    ) -> None:
        self._workspace = workspace
        self._config = config
        self._pool = pool
        self._given = given
        self._inputs = inputs
        self._reasons: dict[str, Path] = {}

    def check(self, names: Sequence[str]) -> None:
        """ConfigError for a score that is nowhere to be had, before anything is computed."""
        for name in names:
            if f"arrays.scores.{name}" in self._given or name in self._pool.pool.scores:
                continue
            if not any(name in scorer.provides for scorer in self._config.scorers.values()):
                self._refuse(name)

    def collect(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """name -> (n,) float64, NaN where a row has no value."""
        found = {name: values for name in names if (values := self._at_hand(name)) is not None}
        for scorer in self._config.scorers.values():
            # Of two scorers that provide the same score, the first computes it.
            wanted = [name for name in names if name in scorer.provides and name not in found]
            if wanted:
                found |= self._computed(scorer, wanted)
        return found

    def with_values(self, scores: dict[str, np.ndarray], candidates: np.ndarray | None) -> np.ndarray | None:
        """The candidates that have all scores; ConfigError with the ids of those that have not, unless they are to be
        left out."""
        rows = np.arange(len(self._pool.pool)) if candidates is None else candidates
        has_all = np.ones(len(rows), dtype=bool)
        for name, values in scores.items():
            missing = rows[np.isnan(values[rows])]
            if len(missing) and self._config.on_missing_score == "error":
                raise ConfigError(self._missing(name, missing))
            has_all &= ~np.isnan(values[rows])
        if has_all.all():
            return candidates
        self._workspace.console.say(f"  {int((~has_all).sum()):,} rows without a score are left out")
        return rows[has_all]

    def _at_hand(self, name: str) -> np.ndarray | None:
        key = f"arrays.scores.{name}"
        if key in self._given:
            values = np.asarray(self._given.rows(key), dtype=np.float64)
            if values.ndim != 1:
                raise ConfigError(f"{key} has shape {values.shape}, expected one number a row")
            return values
        return self._pool.pool.scores.get(name)

    def _computed(self, scorer: Scorer, names: Sequence[str]) -> dict[str, np.ndarray]:
        artifact = self._workspace.scores(self._pool, scorer, names)
        self._reasons |= dict.fromkeys(names, artifact.folder / REASONS_FILE)
        self._inputs[f"scores/{'+'.join(names)}"] = artifact.fingerprint
        return {name: array(artifact, name) for name in names}

    def _missing(self, name: str, rows: np.ndarray) -> str:
        ids = ", ".join(self._pool.pool.ids[rows[:_NAMED]].tolist())
        why = f"; why is in {self._reasons[name]}" if name in self._reasons else ""
        return (
            f"the score {name!r} is missing in {len(rows):,} of {len(self._pool.pool):,} rows (ids {ids} ...){why}: "
            "score them, or add on_missing_score=exclude to leave them out"
        )

    def _refuse(self, name: str) -> None:
        there = ", ".join(self._pool.pool.scores) or "none"
        computed = ", ".join(sorted({item for scorer in self._config.scorers.values() for item in scorer.provides}))
        raise ConfigError(
            f"selection={self._config.name} reads the score {name!r}: the pool has {there}, siftune computes "
            f"{computed or 'none'}; {_offer(name)}bring it as a file with +arrays.scores.{name}=FILE.npy"
        )


def _offer(name: str) -> str:
    """Which of the shipped scorers computes the score, as it is typed."""
    options = [option for option, provides in shipped_scorers().items() if name in provides]
    if not options:
        return ""
    others = f" (or {', '.join(options[1:])})" if options[1:] else ""
    return f"add +scorer@scorers.{name}={options[0]}{others}, which computes it, or "
