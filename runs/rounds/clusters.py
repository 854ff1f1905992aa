"""The stages of a refinement by clusters (Yu et al. 2024, arXiv 2409.11378): clusters, and the feedback of a round."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from siftune.finetune.model_sources import TrainedModel
from siftune.runs.artifacts import Artifact, Stage, write_json
from siftune.runs.cost import Cost
from siftune.runs.reply_stages import replies
from siftune.runs.rounds.config import ClusterRefinement
from siftune.runs.rounds.one_round import Round, Rounds, reasons
from siftune.runs.workspace import StoredPool, Workspace
from siftune.selection.features.replies import ReplySettings
from siftune.selection.features.scorers.scorer import Scorer
from siftune.selection.features.scorers.scoring import REASONS_FILE
from siftune.selection.files import write_whole
from siftune.selection.kernels.cluster_weights import mean_by_cluster, updated_weights
from siftune.selection.rounds import DrawsByCluster

NAMES_FILE = "names.json"
NO_VALUE = "(none)"
"""The cluster of rows that lack the column."""


@dataclass(frozen=True)
class Feedback:
    """What a round said of the clusters."""

    artifact: Artifact
    """Arrays weights (K,) of the next round, means (K,) and values (k,), S of the drawn rows; NaN where there is none.
    reasons.jsonl says of a row why it has no S."""
    replies: StoredPool
    """What the round's model answered; array answered: the drawn rows they belong to."""


def column_clusters(workspace: Workspace, pool: StoredPool, column: str) -> Artifact:
    """Labels of the pool's rows by a column, and the column's values as names; PoolError where no row has it."""
    found = pool.pool.column(column)

    def build(folder: Path) -> Mapping[str, Any]:
        values = np.array([NO_VALUE if value is None else str(value) for value in found])
        names, labels = np.unique(values, return_inverse=True)
        return _write_clusters(folder, labels.astype(np.int64), names.tolist())

    return workspace.ensure(
        Stage(
            kind="clusters",
            name=f"{pool.artifact.record['name']}-{column}",
            config={"column": column},
            inputs={"pool": pool.fingerprint},
            build=build,
            cost=partial(Cost, rows=len(pool.pool)),
        )
    )


def selector_clusters(rounds: Rounds, selector: DrawsByCluster, features: Any, inputs: Mapping[str, str]) -> Artifact:
    """Labels of the pool's rows by the selection method; -1 for rows that cannot be picked."""
    workspace, pool, seed = rounds.workspace, rounds.pool, rounds.config.seed

    def build(folder: Path) -> Mapping[str, Any]:
        with workspace.console.kernels(), workspace.runtime.spread():
            found = selector.partition(features(), np.random.default_rng(seed))
        labels = np.full(len(pool.pool), -1, dtype=np.int64)
        labels[rounds.selectable] = found
        return _write_clusters(folder, labels, [str(cluster) for cluster in range(int(found.max()) + 1)])

    return workspace.ensure(
        Stage(
            kind="clusters",
            name=pool.artifact.record["name"],
            config={"selection": selector, "seed": seed},
            inputs=inputs,
            build=build,
            cost=partial(Cost, rows=len(pool.pool)),
        )
    )


def cluster_names(clusters: Artifact) -> list[str]:
    """(K,) what the clusters are called."""
    names: list[str] = json.loads((clusters.folder / NAMES_FILE).read_text(encoding="utf-8"))
    return names


def feedback(
    rounds: Rounds, refinement: ClusterRefinement, clusters: Artifact, drawn: Round, model: TrainedModel
) -> Feedback:
    """Have the round's model answer the drawn prompts, score both answers, and move the clusters' weights."""
    workspace, name = rounds.workspace, refinement.score_name
    settings = ReplySettings(decoding=refinement.decoding)
    answered = replies(workspace, drawn.rows, workspace.model(model), settings, rounds.config.seed)
    scorer = _scored_by(refinement, model)
    gold = workspace.scores(drawn.rows, scorer, (name,))
    generated = workspace.scores(answered, scorer, (name,))

    def build(folder: Path) -> Mapping[str, Any]:
        better = np.full(len(drawn.rows.pool), np.nan)
        place = answered.artifact.array("answered")
        better[place] = compared(gold.array(name)[place], generated.array(name), refinement.compare)
        weights, labels = drawn.artifact.array("weights"), clusters.array("labels")[drawn.artifact.array("indices")]
        means = mean_by_cluster(better, labels, len(weights))
        new = updated_weights(weights, means, refinement.weighting)
        for key, values in {"weights": new, "means": means, "values": better}.items():
            np.save(folder / f"{key}.npy", values)
        why = _unscored(drawn, better, (answered.artifact, gold, generated))
        lines = [json.dumps({"id": row, "why": reason}, ensure_ascii=False) + "\n" for row, reason in why.items()]
        write_whole(folder / REASONS_FILE, "".join(lines))
        return {"rows": len(better), "without_value": len(why), "round": drawn.number}

    stage = Stage(
        kind="feedback",
        name=f"{rounds.pool.artifact.record['name']}-round{drawn.number}",
        # The score is named, as one artifact may hold several.
        config={"score": name, "compare": refinement.compare, "weighting": refinement.weighting},
        inputs={
            "clusters": clusters.fingerprint,
            "round": drawn.artifact.fingerprint,
            "replies": answered.fingerprint,
            "gold": gold.fingerprint,
            "generated": generated.fingerprint,
        },
        build=build,
        cost=partial(Cost, rows=len(drawn.rows.pool)),
    )
    return Feedback(workspace.ensure(stage), answered)


def compared(gold: np.ndarray, generated: np.ndarray, compare: str) -> np.ndarray:
    """(m,) S: above 0 where the pool's answer is better than the model's; NaN where either has no score."""
    return np.log(generated) - np.log(gold) if compare == "log_ratio" else gold - generated


def _scored_by(refinement: ClusterRefinement, model: TrainedModel) -> Scorer:
    if refinement.scored_by == "scorer":
        return refinement.scorer
    scorer: Any = refinement.scorer
    trained: Scorer = dataclasses.replace(scorer, model=model)
    return trained


def _unscored(drawn: Round, values: np.ndarray, stages: tuple[Artifact, Artifact, Artifact]) -> dict[str, str]:
    """Row id -> why it has no S, by the first stage that says so."""
    said = [reasons(stage) for stage in stages]
    heads = ("no reply: ", "no score of the pool's answer: ", "no score of the reply: ")
    found = {}
    for row in np.flatnonzero(np.isnan(values)).tolist():
        one = str(drawn.rows.pool.ids[row])
        found[one] = next((head + why[one] for head, why in zip(heads, said, strict=True) if one in why), "no score")
    return found


def _write_clusters(folder: Path, labels: np.ndarray, names: list[str]) -> Mapping[str, Any]:
    np.save(folder / "labels.npy", labels)
    write_json(folder / NAMES_FILE, names)
    return {"rows": len(labels), "clusters": len(names)}
