"""From what a selector says it reads to the features computed for it: nothing else is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from siftune.runs.artifacts import Artifact
from siftune.runs.build import ConfigError
from siftune.runs.config import SignalsConfig
from siftune.runs.workspace import StoredPool, Workspace, array
from siftune.selection.interface import BudgetError, Features

Fields = dict[str, Any]
Inputs = dict[str, str]


class Signals:
    """Collects the fields of Features, and the fingerprints of what they were made from."""

    def __init__(self, workspace: Workspace, config: SignalsConfig, pool: StoredPool) -> None:
        self._workspace = workspace
        self._config = config
        self._pool = pool
        self.fields: Fields = {"size": len(pool.pool)}
        self.inputs: Inputs = {"pool": pool.fingerprint}

    def collect(self) -> Features:
        """Compute what the method requires, the cheap and the refusing first."""
        assert self._config.selection is not None
        self._check_count()
        wanted = set(self._config.selection.requires)
        if self._config.budget.unit == "tokens":
            wanted.add("num_tokens")
        makers = self._makers()
        for name in sorted(wanted - makers.keys()):
            raise ConfigError(f"selection={self._config.name} reads {name}, for which siftune has no stage")
        for name, make in makers.items():
            if name in wanted:
                make()
        return Features(**self.fields)

    def _makers(self) -> dict[str, Callable[[], None]]:
        return {
            "sources": self._sources,
            "scores": self._scores,
            "tags": self._tags,
            "num_tokens": self._num_tokens,
            "queries": self._queries,
            "embeddings": self._embeddings,
        }

    def _check_count(self) -> None:
        if self._config.budget.unit != "tokens":
            self._config.budget.count(len(self._pool.pool))

    def _sources(self) -> None:
        self.fields["sources"] = self._pool.pool.sources

    def _scores(self) -> None:
        self.fields["scores"] = self._pool.pool.scores

    def _tags(self) -> None:
        tags = self._pool.pool.tags()
        if tags is None:
            raise ConfigError(
                f"selection={self._config.name} reads tags, and no row of pool={self._config.pool.name} has any"
            )
        self.fields["tags"] = tags[0]

    def _num_tokens(self) -> None:
        counts = self._workspace.token_counts(self._pool, self._workspace.model(self._config.model))
        self.inputs["tokens"] = counts.fingerprint
        self.fields["num_tokens"] = array(counts, "num_tokens")
        self.fields["num_response_tokens"] = array(counts, "num_response_tokens")
        total = int(self.fields["num_tokens"].sum())
        if self._config.budget.unit == "tokens" and total < self._config.budget.amount:
            raise BudgetError(
                f"the budget asks for {self._config.budget.amount:,.0f} tokens and the pool has {total:,}"
            )

    def _queries(self) -> None:
        self.fields["queries"] = {name: self._query(name) for name in self._config.target.tasks}

    def _query(self, name: str) -> Any:
        pool = self._workspace.pool(self._config.target.tasks[name])
        embedded = self._embedded(pool)
        self.inputs[f"query/{name}"] = embedded.fingerprint
        return array(embedded, "embeddings")

    def _embeddings(self) -> None:
        embedded = self._embedded(self._pool)
        self.inputs["embeddings"] = embedded.fingerprint
        self.fields["embeddings"] = array(embedded, "embeddings")

    def _embedded(self, pool: StoredPool) -> Artifact:
        return self._workspace.embeddings(pool, self._config.encoder)
