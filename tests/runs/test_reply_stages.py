"""Models that a run trains: under which name they are found, what takes them, and the stage of their replies."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from siftune.finetune.config import FinetuneConfig, LoraSettings
from siftune.finetune.decoding import Decoding
from siftune.finetune.model_sources import HubModel, RandomModel, TrainedModel
from siftune.runs.artifacts import Key, Stage
from siftune.runs.console import StageConsole
from siftune.runs.planning.workspace import PlanningWorkspace
from siftune.runs.reply_stages import replies, trained, trained_model
from siftune.runs.workspace import StoredModel, StoredPool, Workspace
from siftune.selection.features.encoders.causal_lm import CausalLMEncoder
from siftune.selection.features.replies import ReplySettings
from siftune.selection.features.scorers.losses import LossScorer
from siftune.selection.pool.file_pool import FilePool

TRAINING = FinetuneConfig(max_steps=2, learning_rate=1e-2, lora=LoraSettings(rank=4, alpha=8))
MODEL = RandomModel(dtype="float32")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> FilePool:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    turns = [[{"role": "user", "content": f"q {i}"}, {"role": "assistant", "content": f"a {i}"}] for i in range(24)]
    path.write_text("\n".join(json.dumps({"messages": item}) for item in turns))
    return FilePool(name="made", path=str(path))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("store"), StageConsole(Console(file=io.StringIO())))


@pytest.fixture(scope="module")
def pool(workspace: Workspace, source: FilePool) -> StoredPool:
    return workspace.pool(source)


@pytest.fixture(scope="module")
def base(workspace: Workspace) -> StoredModel:
    return workspace.model(MODEL)


def stage(
    base: StoredModel, pool: StoredPool, rows: range, config: FinetuneConfig = TRAINING, **options: object
) -> Stage:
    return trained(
        base,
        rows=lambda: list(pool.pool.rows(rows)),
        subset_fingerprint=f"rows {rows}",
        training=config,
        seed=3,
        name="round",
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def first(workspace: Workspace, base: StoredModel, pool: StoredPool) -> TrainedModel:
    own = stage(base, pool, range(12))
    workspace.ensure(own)
    return trained_model(workspace, base, own)


def test_a_fresh_training_is_named_as_an_experiments_own(base: StoredModel, pool: StoredPool) -> None:
    """So that a loop's last model is the model of the run."""
    inputs = {"model": base.fingerprint, "subset": "rows range(0, 12)"}
    key = Key(kind="checkpoint", name="x", config={"finetune": TRAINING, "seed": 3}, inputs=inputs)
    assert stage(base, pool, range(12)).fingerprint == key.fingerprint


def test_a_trained_model_is_named_by_its_training(workspace: Workspace, base: StoredModel, first: TrainedModel) -> None:
    stored = workspace.model(first)
    assert stored.fingerprint == first.checkpoint != base.fingerprint
    assert stored.reference == dataclasses.replace(base.reference, adapter=str(first.folder / "adapter"))
    moved = dataclasses.replace(first, name="other", folder=Path("/elsewhere"))
    scorer = LossScorer(name="ppl", model=first)
    keys = [Key(kind="x", name="x", config=dataclasses.replace(scorer, model=own), inputs={}) for own in (first, moved)]
    assert keys[0].fingerprint == keys[1].fingerprint
    other = dataclasses.replace(first, checkpoint="0" * 16)
    assert (
        keys[0].fingerprint != dataclasses.replace(keys[0], config=dataclasses.replace(scorer, model=other)).fingerprint
    )


def test_scores_and_embeddings_by_base_and_adapter_are_those_of_the_merged_model(
    workspace: Workspace, base: StoredModel, pool: StoredPool, first: TrainedModel
) -> None:
    merging = stage(base, pool, range(12), dataclasses.replace(TRAINING, merge=True))
    workspace.ensure(merging)
    merged = trained_model(workspace, base, merging)
    assert merged.reference(None).adapter is None
    plain = HubModel(name="merged", path=merged.reference(None).path, chat_template="chatml", dtype="float32")
    scores, vectors = [], []
    for model in (first, merged, plain, MODEL):
        found = workspace.scores(pool, LossScorer(name="ppl", model=model), ["perplexity"])
        scores.append(np.asarray(found.array("perplexity")))
        encoder = CausalLMEncoder(name="states", model=model)
        vectors.append(np.asarray(workspace.embeddings(pool, encoder).array("embeddings")))
    for number in (1, 2):
        np.testing.assert_allclose(scores[0], scores[number], rtol=1e-5)
        np.testing.assert_allclose(vectors[0], vectors[number], rtol=1e-4, atol=1e-5)
    assert np.abs(scores[0] / scores[3] - 1).min() > 1e-3
    assert np.abs(vectors[0] - vectors[3]).max() > 1e-3


def test_a_training_goes_on_with_another(
    workspace: Workspace, base: StoredModel, pool: StoredPool, first: TrainedModel
) -> None:
    fresh, continued = stage(base, pool, range(12, 24)), stage(base, pool, range(12, 24), start=first)
    assert fresh.fingerprint != continued.fingerprint
    losses = [workspace.ensure(own).summary["log"][0]["loss"] for own in (fresh, continued)]
    assert losses[1] < losses[0]
    assert trained_model(workspace, base, continued).reference(None).path == base.reference.path


def test_merged_models_go_on_merged(workspace: Workspace, base: StoredModel, pool: StoredPool) -> None:
    merging = dataclasses.replace(TRAINING, merge=True)
    before = stage(base, pool, range(12), merging)
    workspace.ensure(before)
    start = trained_model(workspace, base, before)
    again = stage(base, pool, range(12, 24), merging, start=start)
    workspace.ensure(again)
    assert trained_model(workspace, base, again).reference(None).adapter is None
    with pytest.raises(ValueError, match=r"has no adapter.*finetune\.merge=true"):
        workspace.ensure(stage(base, pool, range(12, 24), start=start))


def test_replies_are_a_pool_that_is_found_again(
    workspace: Workspace, pool: StoredPool, first: TrainedModel, base: StoredModel
) -> None:
    greedy = ReplySettings(decoding=Decoding(max_new_tokens=4))
    drawn = ReplySettings(decoding=Decoding(max_new_tokens=4, temperature=1.0))
    model = workspace.model(first)
    found = replies(workspace, pool, model, greedy, 0)
    assert found.pool.ids.tolist() == pool.pool.ids.tolist()
    assert found.artifact.array("answered").tolist() == list(range(24))
    assert found.artifact.summary["without_reply"] == 0
    assert replies(workspace, pool, model, greedy, 1).artifact.cached
    wider = ReplySettings(decoding=Decoding(max_new_tokens=4, positions_per_batch=64))
    assert replies(workspace, pool, model, wider, 0).artifact.cached
    names = {replies(workspace, pool, model, drawn, seed).fingerprint for seed in (0, 1)}
    assert len(names | {found.fingerprint, replies(workspace, pool, base, greedy, 0).fingerprint}) == 4
    scored = workspace.scores(found, LossScorer(name="ppl", model=MODEL), ["perplexity"])
    assert np.isfinite(scored.array("perplexity")).all()


def test_a_plan_knows_the_size_of_a_model_that_is_not_trained_yet(source: FilePool, tmp_path: Path) -> None:
    planned = PlanningWorkspace(tmp_path)
    pool, base = planned.pool(source), planned.model(MODEL)
    own = stage(base, pool, range(12))
    planned.ensure(own)
    model = planned.model(trained_model(planned, base, own))
    assert planned.estimates.shape(model) == planned.estimates.shape(base)
    replies(planned, pool, model, ReplySettings(decoding=Decoding(max_new_tokens=4)), 0)
    noted = {one.stage.kind: one.stage for one in planned.noted.values()}
    assert set(noted) == {"pool", "model", "checkpoint", "replies"}
    cost = noted["replies"].cost()
    assert cost.rows == 24
    assert cost.flops is not None
    assert cost.flops["generation"] > 0
