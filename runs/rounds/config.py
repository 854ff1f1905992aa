"""How a subset is picked round by round, while the model is trained on what was picked so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from siftune.finetune.config import FinetuneConfig
from siftune.finetune.decoding import Decoding
from siftune.selection.features.scorers.scorer import Scorer
from siftune.selection.interface import BudgetError
from siftune.selection.kernels.cluster_weights import ClusterWeighting
from siftune.selection.kernels.shares import apportion

Compare = Literal["log_ratio", "difference"]
ScoredBy = Literal["scorer", "trained"]
Training = Literal["fresh", "continued"]
StartWeights = Literal["equal", "sizes"]
PERPLEXITY = "perplexity"


@dataclass(frozen=True, kw_only=True)
class _Rounds:
    """What every loop has."""

    name: str = field(metadata={"identity": False})
    """Shown in tables and folder names."""
    rounds: int = 3
    """Rounds, the last of which completes the budget."""
    shares: tuple[float, ...] | None = None
    """Relative sizes of the rounds, one each; null: all take the same part of the budget."""
    training: Training = "fresh"
    """Of a round's model. fresh: from the base model on all rows taken so far; continued: from the model of the round
    before, on the round's new rows alone."""
    finetune: FinetuneConfig | None = None
    """How the models of the rounds are trained (finetune@refinement.finetune=lora); null: as the experiment's."""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"refinement.rounds={self.rounds} must be at least 1")
        if self.shares is None:
            return
        if len(self.shares) != self.rounds:
            raise ValueError(f"refinement.shares has {len(self.shares)} parts for refinement.rounds={self.rounds}")
        if not all(0 < share < float("inf") for share in self.shares):
            raise ValueError(f"refinement.shares={list(self.shares)} must be positive numbers")

    def amounts(self, rows: int) -> list[int]:
        """Rows that each round takes of `rows` in all; BudgetError where one would take none."""
        import numpy as np

        shares = np.ones(self.rounds) if self.shares is None else np.array(self.shares)
        amounts: list[int] = apportion(shares, np.full(self.rounds, rows), rows).tolist()
        if min(amounts) == 0:
            raise BudgetError(
                f"the budget of {rows:,} rows leaves a round of refinement.rounds={self.rounds} without one: take "
                "fewer rounds, more even refinement.shares, or a larger budget"
            )
        return amounts


@dataclass(frozen=True, kw_only=True)
class ClusterRefinement(_Rounds):
    """Iterative refinement (arXiv 2409.11378): clusters whose rows teach nothing lose weight.

    Every round draws rows from the clusters by their weights, trains a model on the rows taken so far, has it answer
    the drawn rows' prompts, and scores the pool's answers (gold) against the model's (generated): S is large where the
    gold answer is better than what the model says by now. The mean S of a cluster's drawn rows moves its weight.
    """

    start_weights: StartWeights = "equal"
    """Of the first round. equal: 1/K each (the paper); sizes: in proportion to the clusters' rows, as kMQ alone."""
    weighting: ClusterWeighting = "softmax_product"
    """How the mean S of the clusters, s, move their weights w. softmax_product: w * softmax(s); softmax: softmax(s)
    (the authors' code); ratio: w * s / sum(s) (the paper's Eq. 6, where negative s count as 0)."""
    cluster_by: str | None = None
    """Column of the pool whose values are the clusters, e.g. source; null: those of the selection method (k-means)."""
    scorer: Scorer
    """What scores both answers (option of the group `scorer`)."""
    score: str | None = None
    """Which of its scores; null: its only one, or perplexity."""
    compare: Compare = "log_ratio"
    """S. log_ratio: log(generated) - log(gold), for perplexities; difference: gold - generated, for ratings and
    rewards."""
    scored_by: ScoredBy = "scorer"
    """Whose model gives the perplexities: the scorer's own, or the round's trained one."""
    decoding: Decoding = field(default_factory=Decoding)
    """How the models answer."""
    measure_last: bool = False
    """Train, generate and score after the last round too. It decides nothing, and shows where the weights went; the
    model is the experiment's own where both are trained alike."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (
            ("start_weights", StartWeights),
            ("weighting", ClusterWeighting),
            ("compare", Compare),
            ("scored_by", ScoredBy),
        ):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(
                    f"refinement.{name}={getattr(self, name)!r} is not one of {', '.join(get_args(allowed))}"
                )
        self._check_score()

    @property
    def score_name(self) -> str:
        """The score that is compared."""
        if self.score is not None:
            return self.score
        return PERPLEXITY if PERPLEXITY in self.scorer.provides else self.scorer.provides[0]

    def _check_score(self) -> None:
        provides = self.scorer.provides
        if self.score is None and len(provides) != 1 and PERPLEXITY not in provides:
            raise ValueError(f"refinement.score must say which to compare of the scorer's {', '.join(provides)}")
        if self.score is not None and self.score not in provides:
            raise ValueError(
                f"refinement.score={self.score} is none of what the scorer computes: {', '.join(provides)}"
            )
        lower_is_better = PERPLEXITY in self.score_name
        wanted: Compare = "log_ratio" if lower_is_better else "difference"
        if self.compare != wanted:
            kind = "a perplexity, and lower is better" if lower_is_better else "no perplexity"
            raise ValueError(
                f"refinement.compare={self.compare} with the score {self.score_name!r}, which is {kind}: use "
                f"refinement.compare={wanted}"
            )
        if self.scored_by == "trained" and (self.scorer.model is None or not lower_is_better):
            raise ValueError(
                f"refinement.scored_by=trained scores with the round's language model, and the scorer "
                f"{self.scorer.name!r} does not read perplexities of one: use refinement.scored_by=scorer"
            )


@dataclass(frozen=True, kw_only=True)
class EvolvingRefinement(_Rounds):
    """DiverseEvol (Wu et al. 2023, arXiv 2311.08182): a round adds the rows that the current model finds farthest.

    The first round is drawn at random. Every further one trains a model on the rows taken so far, embeds the pool with
    it (`encoder`, with that model), and continues k-center greedy from the rows taken.
    """

    rounds: int = 10
    """Rounds, the last of which completes the budget (the paper: 10 of 100 rows each)."""
