"""From what a selector says it reads to the features for it: given as files, or computed once; nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from siftune.runs.artifacts import Artifact
from siftune.runs.build import ConfigError
from siftune.runs.config import SignalsConfig
from siftune.runs.needs import needs_of, score_names_of
from siftune.runs.pending import NotComputedError
from siftune.runs.scores import Scores
from siftune.runs.training_signals import TrainingSignals
from siftune.runs.workspace import StoredPool, Workspace, array
from siftune.selection.features.arrays import GivenArrays
from siftune.selection.features.label_graph import load_label_graph
from siftune.selection.features.restriction import read_candidates, restrict
from siftune.selection.features.taggers.tagging import REASONS_FILE, read_tags
from siftune.selection.files import sha256_of
from siftune.selection.interface import BudgetError, Features
from siftune.selection.pool.texts import PoolTexts

Fields = dict[str, Any]
Inputs = dict[str, str]


class Signals:
    """Collects the fields of Features, and the fingerprints of what they were made from."""

    def __init__(self, workspace: Workspace, config: SignalsConfig, pool: StoredPool) -> None:
        self._workspace = workspace
        self._config = config
        self._pool = pool
        self._given = GivenArrays(config.arrays, pool.pool)
        self._fields: Fields = {"size": len(pool.pool)}
        self.tag_names: list[str] = []
        """The names of the tags' columns, where tags were read."""
        self.candidates: np.ndarray | None = None
        """(c,) int64 ascending pool rows that the features are restricted to; None: all."""
        self.inputs: Inputs = {"pool": pool.fingerprint}
        self._training = TrainingSignals(workspace, config, pool, self._given, self.inputs)

    def collect(self, without: frozenset[str] = frozenset()) -> None:
        """Read or compute what the method needs, the cheap and the refusing first; but for what the caller makes."""
        selector, config = self._config.selection, self._config
        assert selector is not None
        if config.candidates is not None:
            self._restrict_to_file(config.candidates)
        self._check_count()
        wanted = needs_of(selector, config.budget, config.arrays, config.reference is not None) - without
        scores = Scores(self._workspace, config, self._pool, self._given, self.inputs)
        scores.check(score_names_of(selector) if "scores" in wanted else ())
        makers = self._makers(scores)
        for name in sorted(wanted - makers.keys()):
            raise ConfigError(f"selection={config.name} reads {name}, for which siftune has no stage")
        for name, make in makers.items():
            if name in wanted:
                with self._workspace.looking(self.inputs, name):
                    self._fields[name] = make()
        self.inputs |= self._given.digests

    def features(self, **made: Any) -> Features:
        """What was collected, and what the caller made, of the candidates."""
        features = Features(**self._fields, **made)
        return features if self.candidates is None else restrict(features, self.candidates)

    def _makers(self, scores: Scores) -> dict[str, Callable[[], Any]]:
        return {
            "sources": lambda: self._pool.pool.sources,
            "tags": self._tags,
            "num_tokens": self._num_tokens,
            "gradients": self._gradients,
            "query_gradients": self._training.query_gradients,
            "trajectories": self._trajectories,
            "label_graph": self._label_graph,
            "tag_embeddings": self._tag_embeddings,
            "texts": lambda: PoolTexts(self._pool.pool),
            "scores": lambda: self._scores(scores),
            "queries": self._queries,
            "reference_embeddings": self._reference,
            "embeddings": self._embeddings,
        }

    def _restrict_to_file(self, path: Path) -> None:
        self.candidates = read_candidates(path, self._pool.pool)
        self.inputs["candidates"] = sha256_of(path / "subset.jsonl" if path.is_dir() else path)
        self._workspace.console.say(f"  {len(self.candidates):,} of {len(self._pool.pool):,} rows are candidates")

    def _check_count(self) -> None:
        if self._config.budget.unit != "tokens":
            self._config.budget.count(len(self._pool.pool) if self.candidates is None else len(self.candidates))

    def _scores(self, scores: Scores) -> dict[str, np.ndarray]:
        assert self._config.selection is not None
        values = scores.collect(score_names_of(self._config.selection))
        with self._workspace.looking():
            self.candidates = scores.with_values(values, self.candidates)
            self._check_count()
        return values

    def _tags(self) -> Any:
        tags, self.tag_names = self._found_tags()
        without = int((np.diff(tags.indptr) == 0).sum())
        if without:
            self._workspace.console.say(f"  {without:,} of {tags.shape[0]:,} rows have no tag")
        return tags

    def _found_tags(self) -> tuple[csr_array, list[str]]:
        """Given as a file, of the pool's own rows, or by the tagger."""
        tagger, console = self._config.tagger, self._workspace.console
        given = "arrays.tags" in self._given
        found = self._given.tags("arrays.tags") if given else self._pool.pool.tags()
        if found is not None:
            if tagger is not None:
                where = "arrays.tags are given" if given else "the pool's rows have tags of their own"
                console.say(f"  {where}: tagger={tagger.name} has nothing to do")
            return found
        if tagger is None:
            raise ConfigError(
                f"selection={self._config.name} reads tags, and no row of pool={self._config.pool.name} has any: add "
                "tagger=keywords (no model) or tagger=instag (a language model), take an annotated pool, or give "
                "arrays.tags=FILE.parquet:COLUMN"
            )
        artifact = self._workspace.tags(self._pool, tagger, self._config.tag_encoder)
        self.inputs["tags"] = artifact.fingerprint
        found = read_tags(artifact.content)
        if artifact.summary["without_tags"]:
            console.say(f"  why rows have no tag: {artifact.folder / REASONS_FILE}")
        return found

    def _tag_embeddings(self) -> np.ndarray:
        if "arrays.tag_embeddings" in self._given:
            return self._given.named("arrays.tag_embeddings", self.tag_names, "tag")
        if "tags" not in self._fields:
            raise NotComputedError("which tags there are")
        embedded = self._workspace.tag_embeddings(self.tag_names, self._config.tag_encoder)
        self.inputs["tag_embeddings"] = embedded.fingerprint
        return array(embedded, "embeddings")

    def _label_graph(self) -> Any:
        graph, names = load_label_graph(self._given.path("arrays.label_graph"))
        place = {name: row for row, name in enumerate(names)}
        missing = [name for name in self.tag_names if name not in place]
        if missing:
            raise ConfigError(
                f"arrays.label_graph={self._config.arrays.label_graph} lacks {len(missing):,} of the pool's "
                f"{len(self.tag_names):,} tags, e.g. {', '.join(missing[:3])}"
            )
        rows = np.array([place[name] for name in self.tag_names])
        return graph[rows][:, rows]

    def _num_tokens(self) -> np.ndarray:
        if "arrays.num_tokens" in self._given:
            return self._given.rows("arrays.num_tokens")
        counts = self._workspace.token_counts(self._pool, self._workspace.model(self._config.model))
        self.inputs["tokens"] = counts.fingerprint
        num_tokens = array(counts, "num_tokens")
        self._fields["num_response_tokens"] = array(counts, "num_response_tokens")
        with self._workspace.looking():
            self._check_tokens(num_tokens)
        return num_tokens

    def _check_tokens(self, num_tokens: np.ndarray) -> None:
        budget = self._config.budget
        total = int((num_tokens if self.candidates is None else num_tokens[self.candidates]).sum())
        if budget.unit == "tokens" and total < budget.amount:
            raise BudgetError(f"the budget asks for {budget.amount:,.0f} tokens and the pool has {total:,}")

    def _gradients(self) -> list[tuple[float, np.ndarray]]:
        found = self._training.gradients()
        # A row without a response has no gradient at any checkpoint.
        self._leave_out("gradients", found[0][1])
        return found

    def _trajectories(self) -> np.ndarray:
        found = self._training.trajectories()
        self._leave_out("trajectories", found)
        return found

    def _leave_out(self, signal: str, values: np.ndarray) -> None:
        self.candidates = self._training.with_values(signal, values, self.candidates)
        self._check_count()

    def _queries(self) -> dict[str, np.ndarray]:
        if "arrays.queries" in self._given:
            return {task: self._given.free(f"arrays.queries.{task}") for task in self._config.arrays.queries}
        return {name: self._query(name) for name in self._config.target.tasks}

    def _query(self, name: str) -> np.ndarray:
        embedded = self._embedded(self._workspace.pool(self._config.target.tasks[name]))
        self.inputs[f"query/{name}"] = embedded.fingerprint
        return array(embedded, "embeddings")

    def _reference(self) -> np.ndarray:
        if "arrays.reference_embeddings" in self._given:
            return self._given.free("arrays.reference_embeddings")
        assert self._config.reference is not None
        embedded = self._embedded(self._workspace.pool(self._config.reference))
        self.inputs["reference"] = embedded.fingerprint
        return array(embedded, "embeddings")

    def embeddings(self) -> np.ndarray:
        """(n, d) of all rows."""
        return self._fields["embeddings"] if "embeddings" in self._fields else self._embeddings()

    def _embeddings(self) -> np.ndarray:
        if "arrays.embeddings" in self._given:
            return self._given.rows("arrays.embeddings")
        embedded = self._embedded(self._pool)
        self.inputs["embeddings"] = embedded.fingerprint
        return array(embedded, "embeddings")

    def _embedded(self, pool: StoredPool) -> Artifact:
        return self._workspace.embeddings(pool, self._config.encoder)
