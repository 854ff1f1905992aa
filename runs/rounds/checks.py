"""What of an experiment's config does not go with picking in rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from siftune.runs.naming import label_of
from siftune.runs.rounds.config import ClusterRefinement
from siftune.selection.rounds import DrawsByCluster, ExtendsPicks

if TYPE_CHECKING:
    # The experiment's config has the refinement's in it.
    from siftune.runs.config import ExperimentConfig


def check_refinement(config: ExperimentConfig) -> None:
    """ValueError for what could not be run to its end, naming the keys."""
    refinement, training = config.refinement, None if config.refinement is None else config.refinement.finetune
    assert refinement is not None
    if config.selection is None:
        raise ValueError("refinement picks rows in rounds, and selection=none picks nothing: add refinement=none")
    if isinstance(refinement, ClusterRefinement):
        _require_cluster_draws(config)
    else:
        _require_extension(config)
    if config.budget.unit == "tokens":
        raise ValueError("budget.unit=tokens: the rounds of a refinement share rows; use budget=examples or fraction")
    if config.budget.unit == "examples":
        refinement.amounts(int(config.budget.amount))
    if training is not None and training.max_length > config.model.max_length:
        raise ValueError(
            f"refinement.finetune.max_length={training.max_length} exceeds model.max_length={config.model.max_length}"
        )
    _check_continued(config)


def _require_cluster_draws(config: ExperimentConfig) -> None:
    if not isinstance(config.selection, DrawsByCluster):
        raise ValueError(
            "refinement by clusters draws with a method that draws by cluster weights, and "
            f"selection={label_of(config.selection)} does not: use selection=kmq"
        )


def _require_extension(config: ExperimentConfig) -> None:
    encoder: Any = config.encoder
    if not isinstance(config.selection, ExtendsPicks):
        raise ValueError(
            "refinement=diverse_evol goes on from rows that are picked already, and "
            f"selection={label_of(config.selection)} does not: use selection=kcenter_greedy"
        )
    if encoder.model is None:
        raise ValueError(
            f"refinement=diverse_evol embeds with the model of each round, and encoder={encoder.name} brings a model "
            "of its own: use encoder=mean, last_token or rds"
        )
    if config.arrays.embeddings is not None:
        raise ValueError("refinement=diverse_evol embeds the pool anew in each round: leave out arrays.embeddings")


def _check_continued(config: ExperimentConfig) -> None:
    assert config.refinement is not None
    training = config.refinement.finetune or config.finetune
    if config.refinement.training == "continued" and training is not None and training.merge:
        raise ValueError(
            "refinement.training=continued trains the adapters of the round before further, and finetune.merge=true "
            "leaves none: use finetune.merge=false (or finetune=full)"
        )
