"""One experiment: pick a subset, fine-tune the base model on it, evaluate, record. Knows no Hydra."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

from siftune.evaluate.results import SuiteResult
from siftune.runs.artifacts import RECORD, Artifact, Key, Stage, new_record, read_record, write_json
from siftune.runs.config import ExperimentConfig
from siftune.runs.cost import Cost
from siftune.runs.distributed import is_main_process
from siftune.runs.evaluating import Evaluation
from siftune.runs.fingerprint import plain
from siftune.runs.lineage import declare
from siftune.runs.picking import Subset, select
from siftune.runs.refinement import refine
from siftune.runs.reply_stages import trained
from siftune.runs.rounds.files import read_refinement
from siftune.runs.run_contamination import contamination_stage, counts_of, in_words
from siftune.runs.run_cost import run_cost
from siftune.runs.tracker.labels import job_type, tags
from siftune.runs.tracker.session import agents_run
from siftune.runs.tracking import Tracker
from siftune.runs.workspace import StoredModel, Workspace


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An experiment whose subset is picked: what is left is to train, to evaluate and to record."""

    config: ExperimentConfig
    workspace: Workspace
    base: StoredModel
    subset: Subset | None

    def checkpoint_stage(self, callbacks: tuple[Any, ...] = ()) -> Stage | None:
        """The fine-tuning, or None for the base model."""
        config, subset = self.config, self.subset
        if subset is None or config.finetune is None:
            return None
        training = config.finetune

        def cost() -> Cost:
            rows, tokens = subset.expected(config.budget)
            return self.workspace.estimates.checkpoint(subset.pool, rows, self.base, training, tokens)

        return trained(
            self.base,
            rows=lambda: list(subset.pool.pool.rows(subset.indices)),
            subset_fingerprint=subset.artifact.fingerprint,
            training=training,
            seed=config.seed,
            name=f"{config.model.name}-{config.name}",
            callbacks=callbacks,
            cost=cost,
            spent=partial(self.workspace.estimates.trained, self.base, training),
        )

    def evaluation_stage(self, checkpoint: Stage | None) -> Stage | None:
        """The measuring of the trained model (of the base model where nothing is trained)."""
        config = self.config
        if config.evaluate is None:
            return None
        evaluation = Evaluation(config.evaluate, config.backend, self.base, checkpoint, self.workspace)
        return evaluation.stage(f"{config.evaluate.name}-{config.name}")

    def run_key(self, checkpoint: Stage | None, evaluation: Stage | None) -> Key:
        """What makes two runs the same one; its folder holds the record."""
        stages = {"checkpoint": checkpoint, "evaluation": evaluation}
        inputs = {"model": self.base.fingerprint} | {kind: stage.fingerprint for kind, stage in stages.items() if stage}
        if self.subset is not None:
            inputs |= {"pool": self.subset.pool.fingerprint, "subset": self.subset.artifact.fingerprint}
        return Key(kind="run", name=self.config.name, config={"seed": self.config.seed}, inputs=inputs)


def begin(config: ExperimentConfig, workspace: Workspace) -> Experiment:
    """Pick the subset."""
    pick = select if config.refinement is None else refine
    subset = None if config.selection is None else pick(config, workspace)
    return Experiment(config, workspace, workspace.model(config.model), subset)


def run(config: ExperimentConfig, workspace: Workspace) -> Path:
    """All stages of an experiment, as far as the store lacks them. Returns the folder of the run's record."""
    workspace.console.title(f"{config.name}, seed {config.seed}")
    experiment = begin(config, workspace)
    checkpoint = experiment.checkpoint_stage()
    evaluation = experiment.evaluation_stage(checkpoint)
    key = experiment.run_key(checkpoint, evaluation)
    folder = key.folder(workspace.store.root)
    # An agent of W&B's waits for the score of the run that it has started, whoever made that run before.
    if is_recorded(folder, config) and not (config.tracking.mode == "online" and agents_run()):
        workspace.console.say(f"[green]✔ run[/] {config.name}, seed {config.seed}: recorded already")
        return folder
    with _tracker(config, workspace, key) as tracker:
        summary = _complete(experiment, evaluation, tracker)
    if is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        # What the result costs to compute, whoever did: stages that were found count too.
        seconds = sum(artifact.record["seconds"] for artifact in workspace.passed.values())
        record = new_record(key, summary, seconds)
        write_json(folder / RECORD, record | {"config": plain(config)})
    return folder


def _complete(experiment: Experiment, evaluation: Stage | None, tracker: Tracker) -> dict[str, Any]:
    """Train and evaluate under the eyes of the tracker; the summary of the run."""
    workspace, subset = experiment.workspace, experiment.subset
    if subset is not None:
        characters = subset.pool.pool.characters
        tracker.selection(subset.summary, (characters, characters[subset.indices]))
        if subset.refinement is not None:
            folder = subset.refinement.folder
            tracker.refinement(read_refinement(folder), folder)
    stage = experiment.checkpoint_stage((tracker.training_callback(),))
    checkpoint = None if stage is None else workspace.ensure(stage, collective=True)
    comparison = contamination_stage(experiment.config, subset, workspace)
    held = None if comparison is None else workspace.ensure(comparison)
    if held is not None:
        workspace.console.say(f"  {in_words(held)}")
    result = None if evaluation is None else workspace.ensure(evaluation)
    summary = _summary(experiment, checkpoint, result) | {"contamination": counts_of(held)}
    for artifact in workspace.passed.values():
        record = artifact.record
        tracker.stage(record["kind"], artifact.fingerprint, record["seconds"], artifact.cached, record.get("cost"))
    tracker.cost(summary["cost"])
    if checkpoint is not None and checkpoint.cached:
        tracker.found_curve(checkpoint.summary["log"])
    if result is not None:
        scores = SuiteResult.from_json(result.summary)
        tracker.evaluation(scores.tasks.values(), None if scores.headline is None else scores.headline.value)
    declare(tracker, workspace.passed.values(), subset, checkpoint, result)
    return summary


def _summary(experiment: Experiment, checkpoint: Artifact | None, evaluation: Artifact | None) -> dict[str, Any]:
    config, subset = experiment.config, experiment.subset
    return {
        "label": config.name,
        "group": config.group_name,
        "seed": config.seed,
        "model": config.model.name,
        "pool": config.pool.name,
        "targets": sorted(config.target.tasks),
        "budget": plain(config.budget),
        "suite": None if config.evaluate is None else config.evaluate.name,
        "results": None if evaluation is None else evaluation.summary,
        "selection": None if subset is None else subset.summary,
        "training": None if checkpoint is None else checkpoint.summary,
        "stages": [_stage_line(artifact) for artifact in experiment.workspace.passed.values()],
        "cost": run_cost(experiment.workspace.passed.values(), checkpoint, evaluation, picked=subset is not None),
    }


def _stage_line(artifact: Artifact) -> dict[str, Any]:
    record = artifact.record
    return {"kind": record["kind"], "name": record["name"], "fingerprint": artifact.fingerprint} | {
        "seconds": record["seconds"],
        "cached": artifact.cached,
    }


def _tracker(config: ExperimentConfig, workspace: Workspace, key: Key) -> Tracker:
    name = f"{config.name}-seed{config.seed}"
    folder = workspace.store.root / "wandb"
    tracking = dataclasses.replace(config.tracking, tags=tags(config))
    return Tracker(tracking, key.fingerprint, name, config.group_name, plain(config), folder, job_type(config))


def is_recorded(folder: Path, config: ExperimentConfig) -> bool:
    """Whether the run was made before, under the same label and in the same group."""
    record = read_record(folder)
    if record is None:
        return False
    summary = record["summary"]
    return (summary["label"], summary["group"]) == (config.name, config.group_name)
