"""What the estimates read of configs and rows: tokens and passes, by hand."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from siftune.evaluate.tasks import ExactMatch, ResponseLoss
from siftune.finetune.config import FinetuneConfig, LoraSettings
from siftune.finetune.model_sources import RandomModel
from siftune.runs.cost import ModelShape
from siftune.runs.planning.estimates import Estimates
from siftune.runs.planning.evaluation_cost import task_cost
from siftune.runs.planning.lengths import Lengths
from siftune.runs.planning.reading_cost import endpoint_pass, model_pass
from siftune.selection.features.encoders.causal_lm import CausalLMEncoder
from siftune.selection.features.endpoint.endpoint import Endpoint
from siftune.selection.features.scorers.losses import LossScorer
from siftune.selection.pool.skills.pool import SkillsPool

SHAPE = ModelShape(
    body=1000, embedding=300, head=300, tied=True, hidden_size=10, num_layers=4, linear_width=50, weight_bytes=2
)
LENGTHS = Lengths(np.array([100.0, 40.0, 60.0]), np.array([30.0, 10.0, 20.0]))
"""200 tokens, of which the assistant says 60."""


class TwoRows:
    """Of a pool, what an estimate for an endpoint reads."""

    characters = np.array([4000, 100])

    def __len__(self) -> int:
        return 2


def encoder(**options: Any) -> CausalLMEncoder:
    return CausalLMEncoder(name="x", model=RandomModel(), **options)


def scorer(*scores: Any) -> LossScorer:
    return LossScorer(name="x", model=RandomModel(), scores=scores)


@pytest.mark.parametrize(
    ("options", "tokens", "share"),
    [
        ({}, 200, 1.0),
        ({"max_length": 50}, 50 + 40 + 50, 1.0),
        ({"text": "response"}, 60, 1.0),
        ({"text": "prompt"}, 140, 1.0),
        ({"hidden_layer": 1}, 200, 0.25),
        ({"hidden_layer": -2}, 200, 0.75),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_an_encoder_reads_its_part_of_the_rows(options: dict[str, Any], tokens: int, share: float) -> None:
    found = model_pass(encoder(**options), SHAPE, LENGTHS, "cpu")
    assert found.tokens == tokens
    assert found.flops == {"forward": share * 2 * 1000 * tokens}


@pytest.mark.parametrize(
    ("scores", "tokens", "predicted"),
    [
        (["perplexity"], 200, 60),
        (["text_perplexity"], 200, 200),
        (["response_perplexity"], 60, 60),
        (["ifd"], 260, 120),
        (["text_perplexity", "ifd"], 260, 260),
    ],
    ids=str,
)
def test_a_loss_scorer_takes_the_passes_of_its_scores(scores: list[str], tokens: int, predicted: int) -> None:
    found = model_pass(scorer(*scores), SHAPE, LENGTHS, "cpu")
    assert found.tokens == tokens
    assert found.flops == {"forward": 2 * 1000 * tokens + 2 * 300 * predicted}


def test_what_is_written_is_counted_by_itself() -> None:
    found = model_pass(SimpleNamespace(max_new_tokens=5), SHAPE, LENGTHS, "cpu")
    assert found.tokens == 215
    assert found.flops == {"forward": 2 * 1000 * 200, "generation": 2 * 1300 * 15}


def test_an_endpoint_charges_by_characters_and_the_longest_answer() -> None:
    endpoint = Endpoint(model="m", input_price=2.0, output_price=10.0)
    asked = SimpleNamespace(endpoint=endpoint, max_characters=400, max_tokens=16)
    rows: Any = TwoRows()
    found = endpoint_pass(asked, rows)
    # (400 + 100) / 4 tokens are read, twice 16 written.
    assert found.tokens == 125 + 32
    assert found.usd == pytest.approx((125 * 2 + 32 * 10) / 1e6)
    without = dataclasses.replace(endpoint, input_price=None, output_price=None)
    assert endpoint_pass(SimpleNamespace(endpoint=without), rows).usd is None


def test_evaluation_tasks_predict_responses_or_write_answers() -> None:
    data = SkillsPool(name="x", size=3)
    loss = task_cost(ResponseLoss(data=data), SHAPE, LENGTHS, limit=2)
    assert (loss.rows, loss.tokens) == (2, 140)
    assert loss.flops == {"forward": 2 * 1000 * 140 + 2 * 300 * 40}
    match = task_cost(ExactMatch(data=data, max_new_tokens=7), SHAPE, LENGTHS, limit=None)
    assert (match.rows, match.tokens) == (3, 140 + 21)
    assert match.flops == {"forward": 2 * 1000 * 140 + 2 * 300 * 3, "generation": 2 * 1300 * 21}


def known() -> tuple[Estimates, Any]:
    """Estimates that know the shape of a model."""
    estimates, model = Estimates(), SimpleNamespace(fingerprint="m")
    estimates._outlines["m"] = (SHAPE, None)
    return estimates, model


def test_a_training_that_is_done_is_counted_by_its_true_tokens() -> None:
    estimates, model = known()
    summary = {"rows": 5, "tokens": 200, "trained_tokens": 60}
    full = FinetuneConfig(method="full", lora=None, gradient_checkpointing=False)
    done = estimates.trained(model, full, summary)
    assert done.flops == {"training": 6 * 1000 * 200 + 6 * 300 * 60}
    adapters = FinetuneConfig(lora=LoraSettings(rank=2), gradient_checkpointing=False)
    done = estimates.trained(model, adapters, summary)
    # Adapters of rank 2 on linear layers of 50 inputs and outputs in all: 100 trained parameters.
    assert done.flops == {"training": 4 * 1000 * 200 + 4 * 300 * 60 + 6 * 100 * 200}
    assert (done.tokens, done.formula_flops) == (200, 6 * 1300 * 200)


def test_an_evaluation_that_is_done_is_counted_by_its_true_tokens() -> None:
    estimates, model = known()
    tasks = {
        "loss": {"tokens": {"read": 140, "predicted": 40, "written": 0}},
        "match": {"tokens": {"read": 60, "predicted": 3, "written": 21}},
    }
    done = estimates.evaluated(model, {"tasks": tasks})
    assert done.flops == {"forward": 2 * 1000 * 200 + 2 * 300 * 43, "generation": 2 * 1300 * 21}
    assert (done.tokens, done.formula_flops) == (221, 2 * 1300 * 221)
    assert estimates.evaluated(model, {"tasks": tasks | {"old": {}}}).flops is None


def test_names_of_tags_are_counted_by_their_true_tokens() -> None:
    estimates, model = known()
    done = estimates.tags(encoder(hidden_layer=1), model, {"rows": 9, "tokens": 30})
    assert (done.flops, done.formula_flops) == ({"forward": 0.25 * 2 * 1000 * 30}, 2 * 1300 * 30)
    assert estimates.tags(encoder(), None, {"rows": 9, "tokens": 0}).flops is None, "an endpoint's"
