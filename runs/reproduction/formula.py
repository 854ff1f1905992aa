"""What cells take whose pool or model is not to be had here: the formulas of RDS+'s appendix, which need sizes alone.

N parameters, P rows of the pool, D picked rows, 2,048 tokens a row (Ivison et al., arXiv 2503.01807): training 6 N D a
token and epoch, reading the pool 2 N P a token, LESS's gradients 6 N P a token and checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from siftune.runs.config import ExperimentConfig
from siftune.runs.needs import needs_of, score_names_of

TOKENS = 2048
"""Of a row, as the appendix has it: an upper bound."""
FORWARD, TRAINING = 2, 6
_SIZE = re.compile(r"(?<![a-z0-9])(\d+(?:[._]\d+)?)\s?([bm])(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class Formula:
    """An estimate."""

    flops: float
    rows: int
    """Of the pool."""
    unsized: tuple[str, ...]
    """Models whose names tell no size; the sum leaves them out."""


def formula_of(configs: Iterable[ExperimentConfig], pool_rows: int | None) -> Formula | None:
    """The sum over cells, what they share counted once; None where the pool's size is not known."""
    if pool_rows is None:
        return None
    parts: dict[str, tuple[str, float]] = {}
    for config in configs:
        for key, model, amount in _parts(config, pool_rows):
            parts[key] = model, amount
    sizes = {model: parameters(model) for model, _ in parts.values()}
    known = [(sizes[model], amount) for model, amount in parts.values()]
    return Formula(
        flops=sum(size * amount for size, amount in known if size is not None),
        rows=pool_rows,
        unsized=tuple(sorted(model for model, size in sizes.items() if size is None)),
    )


def parameters(name: str) -> float | None:
    """As a model's name tells it: Llama-3.1-8B has 8e9."""
    found = _SIZE.findall(name)
    if not found:
        return None
    number, unit = found[-1]
    return float(number.replace("_", ".")) * (1e9 if unit.lower() == "b" else 1e6)


def _parts(config: ExperimentConfig, pool_rows: int) -> Iterator[tuple[str, str, float]]:
    """(what it is, the model, operations a parameter) of each stage that puts tokens through a model."""
    if config.selection is None or config.finetune is None:
        return
    rows = min(getattr(config.pool, "sample", None) or pool_rows, pool_rows)
    model = _path(config.model)
    picked = {"examples": config.budget.amount, "fraction": config.budget.amount * rows}
    tokens = config.budget.amount if config.budget.unit == "tokens" else TOKENS * picked[config.budget.unit]
    yield repr(("train", config)), model, TRAINING * config.finetune.epochs * tokens
    needs = needs_of(config.selection, config.budget, config.arrays, config.reference is not None)
    reading = FORWARD * TOKENS * rows
    if "embeddings" in needs:
        yield repr(("embeddings", config.encoder, rows)), _path(config.encoder), reading
    if "tags" in needs and config.tagger is not None and config.tagger.model is not None:
        yield repr(("tags", config.tagger, rows)), _path(config.tagger), reading
    if "gradients" in needs and config.gradients is not None:
        times = TRAINING / FORWARD * config.gradients.warmup.epochs
        yield repr(("gradients", config.gradients, rows)), _path(config.gradients), times * reading
    for scorer in config.scorers.values():
        if scorer.model is not None and set(scorer.provides) & set(score_names_of(config.selection)):
            yield repr(("scores", scorer, rows)), _path(scorer), reading


def _path(owner: Any) -> str:
    """Of a model, or of what has one: where it comes from, which names it in full."""
    own = getattr(owner, "model", None) or owner
    return str(getattr(own, "path", None) or getattr(own, "name", own))
