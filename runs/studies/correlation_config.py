"""The typed config of `siftune study correlation`, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field

from siftune.runs.build import ConfigError, unknown
from siftune.runs.config import ExperimentConfig
from siftune.runs.measuring.config import MeasureConfig
from siftune.selection.diversity import MeasureSettings
from siftune.selection.features.arrays import ArraysConfig


@dataclass(frozen=True, kw_only=True)
class CorrelationSettings:
    """What is measured, and how it is correlated."""

    measures: MeasureSettings = field(default_factory=MeasureSettings)
    """The measures of diversity, and their hyperparameters."""
    tasks: tuple[str, ...] = ()
    """The benchmarks of `evaluate` whose z-scores make the quality; empty: all."""
    bootstrap: int = 10_000
    """Resamples that an interval comes from."""
    confidence: float = 0.95
    """Share of the distribution that an interval covers."""
    seed: int = 0
    """Of the resampling."""

    def __post_init__(self) -> None:
        if self.bootstrap < 100:
            raise ValueError(f"bootstrap={self.bootstrap} must be at least 100: an interval needs its tails")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence={self.confidence} must lie between 0 and 1, e.g. 0.95")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} must not be negative")


@dataclass(frozen=True, kw_only=True)
class CorrelationStudyConfig(ExperimentConfig):
    """What `siftune study correlation` needs: the experiment whose cells are its runs, and how they are compared."""

    study: CorrelationSettings = field(default_factory=CorrelationSettings)
    """What is measured of the subsets, and how it is correlated."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.evaluate is None:
            raise ValueError(
                "evaluate=none leaves no quality to correlate with: name a suite, e.g. evaluate=skills_all"
            )
        for task in self.study.tasks:
            if task not in self.evaluate.tasks:
                raise ConfigError(unknown("study.tasks", task, self.evaluate.tasks, f"task of {self.evaluate.name}"))

    @property
    def study_name(self) -> str:
        """What the folder of its findings is called."""
        return self.group or f"{self.pool.name}-{self.model.name}"

    @property
    def measuring(self) -> MeasureConfig:
        """How the subsets are measured: with the encoder, the embeddings and the reference that the methods read."""
        given = self.arrays
        return MeasureConfig(
            pool=self.pool,
            model=self.model,
            encoder=self.encoder,
            runtime=self.runtime,
            arrays=ArraysConfig(embeddings=given.embeddings, reference_embeddings=given.reference_embeddings),
            reference=self.reference,
            measures=self.study.measures,
            store=self.store,
        )
