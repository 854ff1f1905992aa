"""The one typed config of an experiment, and the combinations it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from siftune.evaluate.backends.config import HERE, Backend
from siftune.evaluate.contamination import Decontaminate
from siftune.evaluate.suite import Suite
from siftune.finetune.config import FinetuneConfig
from siftune.finetune.model_sources import Model
from siftune.runs.build import ConfigError, build
from siftune.runs.naming import label_of, label_of_rounds
from siftune.runs.paper import Paper
from siftune.runs.rounds.checks import check_refinement
from siftune.runs.rounds.config import ClusterRefinement, EvolvingRefinement
from siftune.runs.tracker.config import TrackingConfig
from siftune.selection.features.arrays import ArraysConfig
from siftune.selection.features.encoders.encoder import Encoder
from siftune.selection.features.endpoint.endpoint import Endpoint
from siftune.selection.features.runtimes.runtime import LocalRuntime, Runtime
from siftune.selection.features.scorers.scorer import Scorer
from siftune.selection.features.taggers.tagger import Tagger
from siftune.selection.features.training.gradients import LessGradients
from siftune.selection.features.training.trajectories import S2LTrajectories
from siftune.selection.interface import Budget, Selector
from siftune.selection.pool.near_duplicates import NearDuplicates
from siftune.selection.pool.source import PoolSource
from siftune.selection.pool.target import TargetConfig

PlanFormat = Literal["table", "markdown", "json"]


@dataclass(frozen=True, kw_only=True)
class SignalsConfig:
    """What every experiment has: a pool, a method, a budget, and what the method's signals are computed with."""

    pool: PoolSource
    """Where the rows come from (group `pool`)."""
    evaluate: Suite | None = None
    """The tasks that `decontaminate` keeps out of the pool, and that `siftune run` measures the model on (group
    `evaluate`)."""
    decontaminate: Decontaminate | None = None
    """How rows that hold test documents of `evaluate` are found, to be removed (group `decontaminate`); None: not."""
    near_duplicates: NearDuplicates | None = None
    """How near-duplicates of rows are found, to be removed (group `near_duplicates`); None: not."""
    target: TargetConfig = field(default_factory=TargetConfig)
    """The target tasks' query rows (group `target`); only targeted methods need them."""
    model: Model
    """The base model (group `model`)."""
    encoder: Encoder
    """What turns rows into embeddings (group `encoder`)."""
    tag_encoder: Encoder
    """What turns tags into embeddings (option of the group `encoder`): for MIG, and to merge near-synonyms."""
    tagger: Tagger | None = None
    """What tags the rows of a pool that has no tags (group `tagger`); None: nothing does."""
    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    """What computes the scores that the pool does not have (options of the group `scorer`)."""
    gradients: LessGradients | None = None
    """What computes the gradients that LESS compares (group `gradients`)."""
    trajectories: S2LTrajectories | None = None
    """What computes the loss trajectories that S2L clusters (group `trajectories`)."""
    runtime: Runtime = field(default_factory=LocalRuntime, metadata={"identity": False})
    """Who computes the features (group `runtime`): this process, a Ray cluster, or the processes of a launch."""
    arrays: ArraysConfig = field(default_factory=ArraysConfig, metadata={"identity": False})
    """Files of precomputed signals, which are then neither computed nor read from the pool."""
    reference: PoolSource | None = None
    """Another pool, in which the densities are taken (NovelSelect); null: the pool itself."""
    candidates: Path | None = field(default=None, metadata={"identity": False})
    """File of ids (one a line, or JSONL with a key id) or folder of a subset: only these rows can be picked."""
    on_missing_score: Literal["error", "exclude"] = "error"
    """Rows without a score that the method reads: error stops, exclude leaves them out and says how many."""
    selection: Selector | None
    """The selection method (group `selection`); None stands for the base model, untrained."""
    budget: Budget
    """How much to pick (group `budget`)."""
    seed: int = 0
    """Seed of the picks, the training and the evaluation."""
    check_resources: bool = field(default=True, metadata={"identity": False})
    """Before computing, print what is to be done and what it takes, and refuse what the disk or the memory does not
    hold (`siftune plan` shows it in full)."""
    store: Path = field(default=Path("siftune-store"), metadata={"identity": False})
    """Folder of the artifacts; share it between runs, so that each feature is computed once."""
    label: str | None = field(default=None, metadata={"identity": False})
    """Name of this cell in tables and plots; by default the method and its hyperparameters that are not the default."""

    def __post_init__(self) -> None:
        requires: frozenset[str] = frozenset() if self.selection is None else self.selection.requires
        self._check_files(requires)
        given = self.arrays.queries or self.arrays.query_gradients
        if requires & {"queries", "query_gradients"} and not self.target.tasks and not given:
            raise ValueError(
                f"selection={self.name} picks the rows nearest to a target task, and target has none: add "
                "target=queries target.tasks.target.path=FILE (or your own conf/target/*.yaml)"
            )
        if self.decontaminate is not None and self.evaluate is None:
            raise ValueError(
                "decontaminate removes rows that hold test documents of evaluate, and evaluate is none: name a suite, "
                "e.g. evaluate=local_benchmarks evaluate.folder=FOLDER, or decontaminate=none"
            )
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} must not be negative")

    def _check_files(self, requires: frozenset[str]) -> None:
        """Embeddings that are compared must come from one encoder."""
        given = {"embeddings": self.arrays.embeddings is not None, "queries": bool(self.arrays.queries)}
        if {"embeddings", "queries"} <= requires and given["embeddings"] != given["queries"]:
            there, missing = ("embeddings", "queries") if given["embeddings"] else ("queries", "embeddings")
            raise ValueError(
                f"arrays.{there} is given and arrays.{missing} is not: selection={self.name} compares them, so both "
                "must come from one encoder"
            )
        if "query_gradients" in requires and bool(self.arrays.gradients) != bool(self.arrays.query_gradients):
            raise ValueError(
                "arrays.gradients and arrays.query_gradients are given together or not at all: selection="
                f"{self.name} compares them, so both must come from the same checkpoints and projection"
            )
        if self.reference is not None and given["embeddings"]:
            raise ValueError(
                "reference is a pool to be encoded and arrays.embeddings are given: give arrays.reference_embeddings "
                "from the same encoder instead of reference"
            )

    @property
    def name(self) -> str:
        """The label, given or derived."""
        return self.label or label_of(self.selection)


@dataclass(frozen=True, kw_only=True)
class SelectConfig(SignalsConfig):
    """What `siftune select` needs."""

    output: Path | None = field(default=None, metadata={"identity": False})
    """Folder to copy the finished subset to; None leaves it in the store alone."""


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig(SignalsConfig):
    """What `siftune run` needs: the selection, and what is done with the picks."""

    finetune: FinetuneConfig | None
    """How the base model is trained on the picks (group `finetune`)."""
    refinement: ClusterRefinement | EvolvingRefinement | None = None
    """How the subset is picked in rounds, with a model trained between them (group `refinement`); None: at once."""
    evaluate: Suite | None
    """What the trained model is measured on (group `evaluate`)."""
    backend: Backend = HERE
    """Who runs the evaluated model (group `backend`)."""
    tracking: TrackingConfig = field(metadata={"identity": False})
    """What W&B is told (group `tracking`)."""
    group: str | None = field(default=None, metadata={"identity": False})
    """Runs that belong together in W&B and in reports; by default pool, model and budget."""
    paper: Paper | None = field(default=None, metadata={"identity": False})
    """Which table of which paper the experiment stands for (`siftune reproduce`)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.selection is not None and self.finetune is None:
            raise ValueError(
                f"selection={self.name} with finetune=none would evaluate the untrained model under that name: "
                "use `siftune select` for the picks alone, or selection=none for the base model"
            )
        if self.selection is None and self.evaluate is None:
            raise ValueError("selection=none with evaluate=none leaves nothing to do")
        if self.finetune is not None and self.finetune.max_length > self.model.max_length:
            raise ValueError(
                f"finetune.max_length={self.finetune.max_length} exceeds model.max_length={self.model.max_length}"
            )
        if isinstance(self.backend, Endpoint) and self.finetune is not None:
            raise ValueError(
                f"the endpoint of backend serves its own model {self.backend.model!r}, not one that this run trains: "
                "add selection=none finetune=none, or evaluate what is trained with backend=vllm or huggingface"
            )
        if self.refinement is not None:
            check_refinement(self)

    @property
    def name(self) -> str:
        """The label, given or derived: that of the rounds and that of the method, or the model of an endpoint."""
        if isinstance(self.backend, Endpoint):
            return self.label or self.backend.model
        if self.refinement is None or self.label is not None:
            return super().name
        return f"{label_of_rounds(self.refinement)}+{super().name}"

    @property
    def group_name(self) -> str:
        """The group, given or derived."""
        return self.group or f"{self.pool.name}-{self.model.name}-{self.budget.amount:g}-{self.budget.unit}"


@dataclass(frozen=True, kw_only=True)
class PlanRunConfig(ExperimentConfig):
    """What `siftune plan run` needs."""

    format: PlanFormat = field(default="table", metadata={"identity": False})
    """A table for the terminal, Markdown, or JSON."""


@dataclass(frozen=True, kw_only=True)
class PlanSelectConfig(SelectConfig):
    """What `siftune plan select` needs."""

    format: PlanFormat = field(default="table", metadata={"identity": False})
    """A table for the terminal, Markdown, or JSON."""


def experiment_config(node: Mapping[str, Any]) -> ExperimentConfig:
    """The typed config of `siftune run`; ConfigError names the key, what was given and what is allowed."""
    config: ExperimentConfig = build(ExperimentConfig, node)
    return config


def select_config(node: Mapping[str, Any]) -> SelectConfig:
    """The typed config of `siftune select`, likewise."""
    config: SelectConfig = build(SelectConfig, node)
    if config.selection is None:
        raise ConfigError("selection=none picks nothing: choose a method (siftune methods lists them)")
    return config
