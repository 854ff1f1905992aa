"""The rounds of a refinement by clusters, one after another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from siftune.finetune.config import FinetuneConfig
from siftune.finetune.model_sources import TrainedModel
from siftune.runs.artifacts import Artifact
from siftune.runs.config import ExperimentConfig
from siftune.runs.pending import PendingArtifact
from siftune.runs.pool_steps import prepared_pool
from siftune.runs.rounds.clusters import Feedback, cluster_names, column_clusters, feedback, selector_clusters
from siftune.runs.rounds.config import ClusterRefinement
from siftune.runs.rounds.one_round import Round, Rounds, reasons
from siftune.runs.rounds.report import RefinementReport, RoundReplies, RoundReport
from siftune.runs.rounds.tables import print_round
from siftune.runs.signals import Signals
from siftune.runs.workspace import Workspace
from siftune.selection.interface import Budget, Features, Selection
from siftune.selection.rounds import DrawsByCluster


@dataclass
class ClusterLoop:
    """Draw by weight, train, generate, score, move the weights; and again."""

    rounds: Rounds
    refinement: ClusterRefinement
    selector: DrawsByCluster
    clusters: Artifact
    features: Callable[[], Features]
    """Of the rows that can be picked."""
    embeddings: Callable[[], np.ndarray]
    """(n, d) of all rows."""
    inputs: Mapping[str, str]
    passed: list[tuple[Round, Feedback | None]] = field(default_factory=list)
    """The rounds so far, with what each said where it was asked."""
    model: TrainedModel | None = None
    """Of the last round that was trained."""

    @classmethod
    def begin(cls, config: ExperimentConfig, refinement: ClusterRefinement, workspace: Workspace) -> ClusterLoop:
        """Read the pool, compute what the selection method reads, and cluster."""
        selector, column = config.selection, refinement.cluster_by
        assert isinstance(selector, DrawsByCluster), "refused by the config"
        pool = prepared_pool(config, workspace)
        # Before anything is embedded, as the pool may not have the column.
        by_column = None if column is None else column_clusters(workspace, pool, column)
        signals = Signals(workspace, config, pool)
        signals.collect()
        rounds = Rounds(config, workspace, pool, workspace.model(config.model), signals.candidates)
        clusters = by_column or selector_clusters(rounds, selector, signals.features, signals.inputs)
        return cls(rounds, refinement, selector, clusters, signals.features, signals.embeddings, signals.inputs)

    def go_round(self) -> Round:
        """Pass all rounds; the last one draws and asks nothing."""
        amounts = self.refinement.amounts(self.rounds.config.budget.count(len(self.rounds.selectable)))
        for number, amount in enumerate(amounts, start=1):
            drawn = self._draw(number, amount)
            if number < len(amounts):
                self._ask(drawn)
            else:
                self.passed.append((drawn, None))
        return drawn

    def finish(self, subset: str) -> None:
        """Ask the last round too, where that is wanted: the fingerprint `subset` stands for all rows."""
        if self.refinement.measure_last:
            drawn, _ = self.passed.pop()
            self._ask(drawn, subset)

    def report(self) -> RefinementReport:
        """The rounds so far."""
        labels = np.array(self.clusters.array("labels"))
        selectable = np.zeros(len(labels), dtype=bool)
        selectable[self.rounds.selectable] = True
        said = [found for _, found in self.passed if found is not None]
        weights = said[-1].artifact if said else self.passed[0][0].artifact
        return RefinementReport(
            rounds=tuple(_round_report(drawn, found) for drawn, found in self.passed),
            size=len(labels),
            labels=np.where(selectable, labels, -1),
            names=tuple(cluster_names(self.clusters)),
            weights=np.array(weights.array("weights")),
            score=self.refinement.score_name,
            compare=self.refinement.compare,
            weighting=self.refinement.weighting,
            column=self.refinement.cluster_by,
        )

    def replies(self) -> dict[int, RoundReplies]:
        """What the rounds' models answered."""
        found = {}
        for drawn, said in self.passed:
            if said is not None:
                rows = drawn.artifact.array("indices")[said.replies.artifact.array("answered")]
                found[drawn.number] = RoundReplies(said.replies.pool, rows)
        return found

    def said(self) -> dict[str, str]:
        """The fingerprints of what the rounds said."""
        said = {f"feedback/{drawn.number}": found.artifact.fingerprint for drawn, found in self.passed if found}
        return {"clusters": self.clusters.fingerprint, **said}

    def _draw(self, number: int, amount: int) -> Round:
        before, said = self.passed[-1] if self.passed else (None, None)
        identity = {"selection": self.selector, **({} if before else {"start_weights": self.refinement.start_weights})}
        inputs = {**self.inputs, "clusters": self.clusters.fingerprint}

        def pick(earlier: np.ndarray, rng: np.random.Generator) -> tuple[Selection, dict[str, np.ndarray]]:
            labels, rows = np.array(self.clusters.array("labels")), self.rounds.selectable
            weights = np.array(said.artifact.array("weights")) if said else self._start_weights(labels[rows])
            budget, taken = Budget(amount), np.isin(rows, earlier)
            picks = self.selector.draw(self.features(), labels[rows], weights, taken, budget, rng)
            return dataclasses.replace(picks, indices=rows[picks.indices]), {"weights": weights}

        if said is not None:
            inputs["feedback"] = said.artifact.fingerprint
        return self.rounds.draw(number, amount, before, identity, inputs, pick)

    def _start_weights(self, labels: np.ndarray) -> np.ndarray:
        sizes = np.bincount(labels, minlength=len(cluster_names(self.clusters)))
        if self.refinement.start_weights == "sizes":
            return np.asarray(sizes / sizes.sum(), dtype=np.float64)
        return np.full(len(sizes), 1 / len(sizes))

    def _ask(self, drawn: Round, whole: str | None = None) -> None:
        """Train the round's model and have it say what it can do by now; a table tells."""
        refinement, workspace = self.refinement, self.rounds.workspace
        training = training_of(self.rounds.config)
        continued = refinement.training == "continued"
        self.model = self.rounds.train(drawn, self.model, training, continued=continued, whole=whole)
        found = feedback(self.rounds, refinement, self.clusters, drawn, self.model)
        self.passed.append((drawn, found))
        if not isinstance(found.artifact, PendingArtifact) and not found.artifact.cached:
            print_round(self.report(), workspace.console.console)


def training_of(config: ExperimentConfig) -> FinetuneConfig:
    """How the models of the rounds are trained."""
    assert config.finetune is not None, "refused by the config"
    own = None if config.refinement is None else config.refinement.finetune
    return own or config.finetune


def _round_report(drawn: Round, said: Feedback | None) -> RoundReport:
    rows, weights = np.array(drawn.artifact.array("indices")), np.array(drawn.artifact.array("weights"))
    if said is None:
        return RoundReport(number=drawn.number, rows=rows, weights=weights)
    means, values = (np.array(said.artifact.array(name)) for name in ("means", "values"))
    unscored = reasons(said.artifact)
    return RoundReport(number=drawn.number, rows=rows, weights=weights, means=means, values=values, unscored=unscored)
