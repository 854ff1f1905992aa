"""What a refinement's config says, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hydra import compose, initialize_config_module

from siftune.finetune.model_sources import RandomModel
from siftune.runs.build import ConfigError
from siftune.runs.config import ExperimentConfig, experiment_config
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.rounds.config import ClusterRefinement, EvolvingRefinement
from siftune.selection.features.scorers.losses import LossScorer
from siftune.selection.features.scorers.text_scores import LengthScorer
from siftune.selection.interface import BudgetError

LOSS = LossScorer(name="loss", model=RandomModel())
EVOLVING = ["refinement=diverse_evol", "selection=kcenter_greedy", "encoder=mean"]


def node(overrides: list[str]) -> Mapping[str, Any]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        return plain_node(compose("run", overrides=overrides))


def experiment(*overrides: str) -> ExperimentConfig:
    return experiment_config(node(["target=none", *overrides]))


@pytest.mark.parametrize(
    ("rounds", "shares", "rows", "amounts"),
    [
        (3, None, 192, [64, 64, 64]),
        (3, None, 100, [34, 33, 33]),
        (3, (2.0, 1.0, 1.0), 100, [50, 25, 25]),
        (1, None, 7, [7]),
    ],
)
def test_the_rounds_share_the_budget_exactly(
    rounds: int, shares: tuple[float, ...] | None, rows: int, amounts: list[int]
) -> None:
    refinement = ClusterRefinement(name="x", rounds=rounds, shares=shares, scorer=LOSS)
    assert refinement.amounts(rows) == amounts


def test_a_round_without_a_row_is_refused() -> None:
    with pytest.raises(BudgetError, match=r"2 rows.*refinement\.rounds=3"):
        EvolvingRefinement(name="x", rounds=3).amounts(2)


def test_the_score_is_the_perplexity_or_the_only_one() -> None:
    assert ClusterRefinement(name="x", scorer=LOSS).score_name == "perplexity"
    length = LengthScorer(name="length")
    only = {"scorer": length, "compare": "difference", "score": length.provides[0]}
    assert ClusterRefinement(name="x", **only).score_name == length.provides[0]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rounds": 0}, "refinement.rounds=0"),
        ({"shares": (1.0, 1.0)}, "2 parts for refinement.rounds=3"),
        ({"shares": (1.0, -1.0, 1.0)}, "positive"),
        ({"score": "judge"}, "refinement.score=judge.*perplexity, text_perplexity"),
        ({"compare": "difference"}, "use refinement.compare=log_ratio"),
        ({"score": "ifd"}, "use refinement.compare=difference"),
        ({"weighting": "hardmax"}, "refinement.weighting='hardmax'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ClusterRefinement(name="x", scorer=LOSS, **fields)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["refinement=diversify", "selection=random"], "selection=random.*use selection=kmq"),
        (["refinement=diversify", "selection=none"], "refinement=none"),
        (["refinement=diversify", "selection=kmq", "budget=tokens", "budget.amount=900"], "budget.unit=tokens"),
        (["refinement=diversify", "selection=kmq", "budget.amount=2"], "refinement.rounds=3"),
        (["refinement=diversify", "selection=kmq", "refinement.compare=ratio"], "compare=ratio"),
        (["refinement=diversify", "selection=kmq", "finetune=none"], "finetune=none"),
        (
            ["refinement=diversify", "selection=kmq", "refinement.training=continued", "finetune.merge=true"],
            "refinement.training=continued",
        ),
        (
            [
                "refinement=diversify",
                "selection=kmq",
                "finetune@refinement.finetune=lora",
                "refinement.finetune.max_length=9999999",
            ],
            "refinement.finetune.max_length=9999999",
        ),
        (["refinement=diverse_evol", "selection=kmq", "encoder=mean"], "use selection=kcenter_greedy"),
        ([*EVOLVING, "encoder=minilm"], "encoder=minilm"),
        ([*EVOLVING, "arrays.embeddings=x.npy"], "arrays.embeddings"),
    ],
)
def test_what_does_not_go_with_rounds_is_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        experiment(*overrides)


def test_the_trained_model_is_asked_for_perplexities_alone() -> None:
    judged = ["refinement=diversify_judge", "selection=kmq", "refinement.scorer.endpoint.model=m"]
    assert experiment(*judged).name == "diversify_judge+kmq"
    with pytest.raises(ConfigError, match=r"use refinement\.scored_by=scorer"):
        experiment(*judged, "refinement.scored_by=trained")


def test_labels_show_the_rounds_settings() -> None:
    assert experiment("selection=kmq").name == "kmq"
    assert experiment("selection=kmq", "refinement=diversify").name == "diversify+kmq"
    changed = ["selection=kmq", "refinement=diversify", "refinement.rounds=5", "refinement.cluster_by=source"]
    assert experiment(*changed).name == "diversify(rounds=5, cluster_by=source)+kmq"
    assert experiment(*changed, "label=mine").name == "mine"
    assert experiment(*EVOLVING).name == "diverse_evol+kcenter_greedy"


def test_the_shipped_experiments_are_whole() -> None:
    for option, kind in (("refinement", ClusterRefinement), ("diverse_evol", EvolvingRefinement)):
        assert isinstance(experiment_config(node([f"experiment={option}"])).refinement, kind)
