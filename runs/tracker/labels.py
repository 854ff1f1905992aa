"""How a run is found among others in W&B: what it did, and what it was made of."""

from __future__ import annotations

from collections.abc import Iterator

from siftune.runs.config import ExperimentConfig

LONGEST = 64
"""Characters of a tag: W&B's limit."""


def job_type(config: ExperimentConfig) -> str:
    """What the run does, e.g. select+train+evaluate; evaluate alone for the base model."""
    picks = None if config.selection is None else "select" if config.refinement is None else "refine"
    done = (picks, "train" if picks and config.finetune else None, "evaluate" if config.evaluate else None)
    return "+".join(word for word in done if word is not None)


def tags(config: ExperimentConfig) -> tuple[str, ...]:
    """method, model, pool, budget and experiment, as far as they say something, and the user's own."""
    found = (f"{what}:{name}"[:LONGEST] for what, name in _names(config))
    return tuple(dict.fromkeys([*found, *config.tracking.tags]))


def _names(config: ExperimentConfig) -> Iterator[tuple[str, str]]:
    yield "method", config.name
    yield "model", config.model.name
    if config.selection is not None:
        yield "pool", config.pool.name
        yield "budget", f"{config.budget.amount:g} {config.budget.unit}"
    if config.group is not None:
        yield "experiment", config.group
