"""Picking in rounds, end to end on the tiny model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from transformers import LlamaConfig, LlamaForSequenceClassification

from siftune.finetune.tiny import byte_tokenizer
from siftune.runs.config import ExperimentConfig, experiment_config
from siftune.runs.experiment import begin, run
from siftune.runs.planning.workspace import PlanningWorkspace, walk
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.rounds import clusters as cluster_stages
from siftune.runs.rounds.files import read_refinement
from siftune.runs.workspace import Workspace
from siftune.selection.interface import Budget, Features
from siftune.selection.kernels.cluster_weights import mean_by_cluster, updated_weights
from siftune.selection.methods.kcenter import KCenterGreedy
from siftune.selection.pool.source import PoolError
from siftune.selection.pool.store import Pool

TINY = [
    "model=tiny",
    "encoder=mean",
    "pool.size=120",
    "finetune.epochs=1",
    "evaluate=none",
    "tracking=disabled",
]
CLUSTERS = [
    "experiment=refinement",
    *TINY,
    "budget.amount=18",
    "refinement.measure_last=false",
    "refinement.decoding.max_new_tokens=6",
]
BY_KMEANS = [*CLUSTERS, "selection.num_clusters=4"]
BY_SOURCE = [*CLUSTERS, "refinement.cluster_by=source", "refinement.scored_by=trained"]
EVOLVING = ["experiment=diverse_evol", *TINY, "budget.amount=12", "refinement.rounds=3"]


def experiment(store: Path, overrides: list[str]) -> ExperimentConfig:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        return experiment_config(plain_node(compose("run", overrides=[*overrides, f"store={store}"])))


def picked(store: Path, overrides: list[str]) -> Workspace:
    """The workspace in which the subset was picked."""
    workspace = Workspace(store)
    begin(experiment(store, overrides), workspace)
    return workspace


def folders(store: Path, kind: str) -> list[Path]:
    """The stages of a kind in the order of the rounds."""
    found = [path.parent for path in store.glob(f"{kind}/*/record.json")]
    return sorted(found, key=lambda folder: record(folder)["name"])


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "record.json").read_text())
    return found


def only(store: Path, kind: str) -> Path:
    (found,) = folders(store, kind)
    return found


def subset_rows(store: Path) -> list[int]:
    lines = (only(store, "subset") / "subset.jsonl").read_text().splitlines()
    return [json.loads(line)["pool_row"] for line in lines]


def content(store: Path) -> Mapping[str, bytes]:
    """What the loop computed, by stage and file."""
    kinds = ("clusters", "round", "replies", "feedback", "subset")
    names = ("*.npy", "*.arrow", "subset.jsonl")
    files = [path for kind in kinds for name in names for path in store.glob(f"{kind}/*/{name}")]
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def kmeans_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which a subset was picked in three rounds, by k-means clusters, and a model was trained on it."""
    store = tmp_path_factory.mktemp("kmeans")
    run(experiment(store, BY_KMEANS), Workspace(store))
    return store


def test_all_rounds_make_the_subset(kmeans_store: Path) -> None:
    rounds = folders(kmeans_store, "round")
    drawn = [np.load(folder / "indices.npy").tolist() for folder in rounds]
    assert [len(rows) for rows in drawn] == [6, 6, 6]
    assert subset_rows(kmeans_store) == [row for rows in drawn for row in rows]
    assert len(set(subset_rows(kmeans_store))) == 18
    pool = Pool.open(next(kmeans_store.glob("pool/skills-*")))
    assert Pool.open(rounds[1]).ids.tolist() == pool.ids[drawn[1]].tolist()


def test_the_first_round_draws_by_equal_weights_and_each_later_one_by_the_feedback_before(kmeans_store: Path) -> None:
    weights = [np.load(folder / "weights.npy") for folder in folders(kmeans_store, "round")]
    said = [np.load(folder / "weights.npy") for folder in folders(kmeans_store, "feedback")]
    assert weights[0].tolist() == [0.25] * 4
    assert len(said) == 2
    for drew, told in zip(weights[1:], said, strict=True):
        assert drew.tolist() == told.tolist()
    assert not np.allclose(said[0], 0.25)


def test_feedback_is_the_log_ratio_of_perplexities_by_cluster(kmeans_store: Path) -> None:
    labels = np.load(only(kmeans_store, "clusters") / "labels.npy")
    drawn, said = folders(kmeans_store, "round")[0], folders(kmeans_store, "feedback")[0]
    by_fingerprint = {record(folder)["fingerprint"]: folder for folder in folders(kmeans_store, "scores")}
    inputs = record(said)["inputs"]
    gold, generated = (np.load(by_fingerprint[inputs[key]] / "perplexity.npy") for key in ("gold", "generated"))
    values = np.load(said / "values.npy")
    np.testing.assert_allclose(values, np.log(generated / gold), rtol=1e-12)
    means = mean_by_cluster(values, labels[np.load(drawn / "indices.npy")], 4)
    np.testing.assert_array_equal(np.load(said / "means.npy"), means)
    expected = updated_weights(np.full(4, 0.25), means, "softmax_product")
    np.testing.assert_array_equal(np.load(said / "weights.npy"), expected)


def test_each_model_is_trained_afresh_on_all_rows_so_far_and_answers_the_new_ones(kmeans_store: Path) -> None:
    trained = {record(folder)["name"]: record(folder) for folder in folders(kmeans_store, "checkpoint")}
    assert [trained[f"tiny-round{number}"]["summary"]["rows"] for number in (1, 2)] == [6, 12]
    assert trained["tiny-diversify+kmq(num_clusters=4)"]["summary"]["rows"] == 18
    assert all("start" not in entry["inputs"] for entry in trained.values())
    replies = folders(kmeans_store, "replies")
    assert [len(Pool.open(folder)) for folder in replies] == [6, 6]


def test_the_report_tells_of_all_rounds(kmeans_store: Path) -> None:
    report = read_refinement(only(kmeans_store, "refinement"))
    assert report.picks.tolist() == subset_rows(kmeans_store)
    assert [entry.number for entry in report.rounds] == [1, 2, 3]
    assert [entry.values is None for entry in report.rounds] == [False, False, True]
    assert report.names == ("0", "1", "2", "3")
    assert report.score == "perplexity"


def test_what_is_there_is_not_computed_again(kmeans_store: Path) -> None:
    workspace = picked(kmeans_store, BY_KMEANS)
    assert all(artifact.cached for artifact in workspace.passed.values())


def test_measuring_the_last_round_takes_the_model_of_the_run(kmeans_store: Path) -> None:
    before = len(folders(kmeans_store, "checkpoint"))
    workspace = picked(kmeans_store, [*BY_KMEANS, "refinement.measure_last=true"])
    assert len(folders(kmeans_store, "checkpoint")) == before
    computed = [artifact.record["kind"] for artifact in workspace.passed.values() if not artifact.cached]
    assert computed == ["replies", "scores", "scores", "feedback", "refinement"]
    (measured,) = (artifact for artifact in workspace.passed.values() if artifact.record["kind"] == "refinement")
    assert read_refinement(measured.folder).rounds[2].values is not None


def test_a_loop_that_failed_in_a_round_goes_on_there(
    tmp_path: Path, kmeans_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def breaking(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise RuntimeError("the power went")
        return updated_weights(*given)

    with monkeypatch.context() as patch:
        patch.setattr(cluster_stages, "updated_weights", breaking)
        with pytest.raises(RuntimeError, match="the power went"):
            picked(tmp_path, BY_KMEANS)
    workspace = picked(tmp_path, BY_KMEANS)
    computed = [artifact.record["kind"] for artifact in workspace.passed.values() if not artifact.cached]
    assert computed == ["feedback", "round", "subset", "refinement"]
    undisturbed = content(kmeans_store)
    assert content(tmp_path) == {name: undisturbed[name] for name in content(tmp_path)}


def test_a_plan_has_all_rounds_by_their_fingerprints(tmp_path: Path, kmeans_store: Path) -> None:
    workspace = PlanningWorkspace(tmp_path)
    walk(experiment(tmp_path, BY_KMEANS), workspace)
    planned = {noted.stage.fingerprint for noted in workspace.noted.values() if not noted.unsure}
    kinds = ("clusters", "round", "replies", "scores", "feedback", "subset", "refinement", "checkpoint")
    done = [record(folder) for kind in kinds for folder in folders(kmeans_store, kind)]
    # What other tests measured after the last round is not part of it.
    own = [entry for entry in done if "round3" not in entry["name"] or entry["kind"] == "round"]
    assert {entry["fingerprint"] for entry in own if entry["kind"] != "refinement"} <= planned
    for noted in workspace.noted.values():
        noted.stage.cost()
    assert not workspace.undecided


def test_sources_as_clusters_scored_by_the_trained_model(tmp_path: Path) -> None:
    picked(tmp_path, BY_SOURCE)
    clusters = only(tmp_path, "clusters")
    names, labels = json.loads((clusters / "names.json").read_text()), np.load(clusters / "labels.npy")
    sources = Pool.open(next(tmp_path.glob("pool/skills-*"))).sources
    assert [names[label] for label in labels] == sources.tolist()
    models = [record(folder)["fingerprint"] for folder in folders(tmp_path, "checkpoint")]
    scored_by = [record(folder)["inputs"]["model"] for folder in folders(tmp_path, "scores")]
    assert sorted(scored_by) == sorted([*models, *models])
    assert read_refinement(only(tmp_path, "refinement")).column == "source"


@pytest.mark.slow
def test_rewards_are_compared_as_they_are(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(512)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    known = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "num_labels": 1}
    LlamaForSequenceClassification(LlamaConfig(**sizes, **known)).save_pretrained(tmp_path / "reward")
    tokenizer.save_pretrained(tmp_path / "reward")
    reward = [f"refinement.scorer.model.path={tmp_path / 'reward'}", "refinement.scorer.model.chat_template=chatml"]
    reward += ["refinement.scorer.max_length=2048"]
    rounds = ["refinement.cluster_by=source", "refinement.rounds=2", "refinement.decoding.max_new_tokens=4"]
    store = tmp_path / "store"
    picked(store, ["refinement=diversify_reward", "selection=kmq", *TINY, "budget.amount=8", *rounds, *reward])
    said = only(store, "feedback")
    by_fingerprint = {record(folder)["fingerprint"]: folder for folder in folders(store, "scores")}
    inputs = record(said)["inputs"]
    gold, generated = (np.load(by_fingerprint[inputs[key]] / "reward.npy") for key in ("gold", "generated"))
    np.testing.assert_array_equal(np.load(said / "values.npy"), gold - generated)


@pytest.mark.slow
def test_training_goes_on_where_it_is_to_be_continued(tmp_path: Path) -> None:
    picked(tmp_path, [*BY_SOURCE, "refinement.scored_by=scorer", "refinement.training=continued"])
    first, second = (record(folder) for folder in folders(tmp_path, "checkpoint"))
    assert "start" not in first["inputs"]
    assert second["inputs"]["start"] == first["fingerprint"]
    assert [entry["summary"]["rows"] for entry in (first, second)] == [6, 6]


@pytest.mark.slow
def test_weights_may_start_at_the_clusters_sizes_and_rounds_be_uneven(tmp_path: Path) -> None:
    uneven = ["refinement.rounds=2", "refinement.shares=[2,1]", "refinement.start_weights=sizes"]
    picked(tmp_path, [*BY_SOURCE, *uneven, "refinement.scored_by=scorer"])
    labels = np.load(only(tmp_path, "clusters") / "labels.npy")
    first, second = folders(tmp_path, "round")
    np.testing.assert_allclose(np.load(first / "weights.npy"), np.bincount(labels) / len(labels))
    assert [len(np.load(folder / "indices.npy")) for folder in (first, second)] == [12, 6]


@pytest.mark.slow
def test_only_candidates_are_drawn(tmp_path: Path) -> None:
    pool = Workspace(tmp_path).pool(experiment(tmp_path, BY_KMEANS).pool).pool
    (tmp_path / "ids.txt").write_text("\n".join(pool.ids[20:60].tolist()))
    picked(tmp_path, [*BY_KMEANS, f"candidates={tmp_path / 'ids.txt'}"])
    assert set(subset_rows(tmp_path)) <= set(range(20, 60))
    report = read_refinement(only(tmp_path, "refinement"))
    assert report.sizes.sum() == 40


def test_a_column_that_the_pool_lacks_is_refused_before_anything_is_embedded(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"no column .topic.*source"):
        picked(tmp_path, [*CLUSTERS, "refinement.cluster_by=topic"])
    assert not folders(tmp_path, "embeddings")
    with pytest.raises(PoolError, match="no column 'topic'"):
        walk(experiment(tmp_path, [*CLUSTERS, "refinement.cluster_by=topic"]), PlanningWorkspace(tmp_path))


def test_diverse_evol_goes_on_by_the_trained_models_embeddings(tmp_path: Path) -> None:
    picked(tmp_path, EVOLVING)
    rounds = folders(tmp_path, "round")
    embedded = [np.load(folder / "embeddings.npy") for folder in folders(tmp_path, "embeddings")]
    drawn = [np.load(folder / "indices.npy") for folder in rounds]
    assert [len(rows) for rows in drawn] == [4, 4, 4]
    assert subset_rows(tmp_path) == np.concatenate(drawn).tolist()
    assert not np.array_equal(*embedded)
    for number, embeddings in enumerate(embedded, start=1):
        features = Features(size=120, embeddings=embeddings)
        earlier, rng = np.concatenate(drawn[:number]), np.random.default_rng([0, number + 1])
        expected = KCenterGreedy().extend(features, earlier, Budget(4), rng).indices
        assert drawn[number].tolist() == expected.tolist()
    trained = [record(folder)["summary"]["rows"] for folder in folders(tmp_path, "checkpoint")]
    assert trained == [4, 8]
    assert read_refinement(only(tmp_path, "refinement")).names is None
