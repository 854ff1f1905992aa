"""DiverseEvol's rounds (Wu et al. 2023, arXiv 2311.08182): each adds the rows that the current model finds farthest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from siftune.finetune.model_sources import TrainedModel
from siftune.runs.artifacts import Artifact
from siftune.runs.config import ExperimentConfig
from siftune.runs.pool_steps import prepared_pool
from siftune.runs.rounds.config import EvolvingRefinement
from siftune.runs.rounds.loop import training_of
from siftune.runs.rounds.one_round import Round, Rounds
from siftune.runs.rounds.report import RefinementReport, RoundReplies, RoundReport
from siftune.runs.rounds.tables import print_round
from siftune.runs.signals import Signals
from siftune.runs.workspace import Workspace, array
from siftune.selection.interface import Budget, Selection
from siftune.selection.rounds import ExtendsPicks


@dataclass
class EvolvingLoop:
    """Train, embed by the trained model, pick the farthest; and again."""

    rounds: Rounds
    refinement: EvolvingRefinement
    selector: ExtendsPicks
    signals: Signals
    passed: list[Round] = field(default_factory=list)
    """The rounds so far."""
    model: TrainedModel | None = None
    """Of the last round that was trained."""
    embedded: Artifact | None = None
    """The pool by that model."""

    @classmethod
    def begin(cls, config: ExperimentConfig, workspace: Workspace) -> EvolvingLoop:
        """Read the pool; nothing is embedded before a model is trained."""
        refinement, selector = config.refinement, config.selection
        assert isinstance(refinement, EvolvingRefinement)
        assert isinstance(selector, ExtendsPicks), "refused by the config"
        pool = prepared_pool(config, workspace)
        signals = Signals(workspace, config, pool)
        signals.collect(without=frozenset({"embeddings"}))
        rounds = Rounds(config, workspace, pool, workspace.model(config.model), signals.candidates)
        return cls(rounds, refinement, selector, signals)

    def go_round(self) -> Round:
        """Pass all rounds; the last one picks, and trains nothing."""
        amounts = self.refinement.amounts(self.rounds.config.budget.count(len(self.rounds.selectable)))
        for number, amount in enumerate(amounts, start=1):
            drawn = self._draw(number, amount)
            self.passed.append(drawn)
            if drawn.stand_ins is None and not drawn.artifact.cached:
                print_round(self.report(), self.rounds.workspace.console.console)
            if number < len(amounts):
                self._embed(drawn)
        return drawn

    def finish(self, subset: str) -> None:
        """Nothing is left to do."""

    def report(self) -> RefinementReport:
        """The rounds so far."""
        return RefinementReport(
            rounds=tuple(
                RoundReport(
                    number=drawn.number,
                    rows=np.array(drawn.artifact.array("indices")),
                    gains=np.array(drawn.artifact.array("gains")),
                )
                for drawn in self.passed
            ),
            size=len(self.rounds.pool.pool),
        )

    def replies(self) -> dict[int, RoundReplies]:
        """None: nothing is generated."""
        return {}

    def said(self) -> dict[str, str]:
        """The fingerprint of the embeddings by which the map is laid out."""
        return {} if self.embedded is None else {"embeddings": self.embedded.fingerprint}

    def embeddings(self) -> np.ndarray:
        """(n, d) by the last trained model; with a single round, by the base model."""
        if self.embedded is None:
            return self.signals.embeddings()
        return array(self.embedded, "embeddings")

    def _draw(self, number: int, amount: int) -> Round:
        before = self.passed[-1] if self.passed else None
        identity = {} if before is None else {"selection": self.selector}
        inputs = self.signals.inputs | self.said()
        return self.rounds.draw(number, amount, before, identity, inputs, partial(self._pick, amount))

    def _pick(
        self, amount: int, earlier: np.ndarray, rng: np.random.Generator
    ) -> tuple[Selection, Mapping[str, np.ndarray]]:
        """Picks as pool rows: at random, then the farthest from all that were picked."""
        rows = self.rounds.selectable
        if not len(earlier):
            return Selection(rng.choice(rows, amount, replace=False), np.full(amount, np.nan)), {}
        features = self.signals.features(embeddings=self.embeddings())
        picks = self.selector.extend(features, np.searchsorted(rows, earlier), Budget(amount), rng)
        return dataclasses.replace(picks, indices=rows[picks.indices]), {}

    def _embed(self, drawn: Round) -> None:
        """Train the round's model and embed the pool by it."""
        config, workspace = self.rounds.config, self.rounds.workspace
        continued = self.refinement.training == "continued"
        self.model = self.rounds.train(drawn, self.model, training_of(config), continued=continued)
        encoder: Any = config.encoder
        by_trained = dataclasses.replace(encoder, model=self.model, name=f"{encoder.name}-round{drawn.number}")
        self.embedded = workspace.embeddings(self.rounds.pool, by_trained)
