"""Names for people: how a method and its hyperparameters are called in tables, plots and folders."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from siftune.runs.options import shipped_selectors

BASE = "base"
"""The label of the model that was not trained."""

ROUNDS = {"rounds", "shares", "training", "start_weights", "weighting", "cluster_by", "scored_by"}
"""Settings of a refinement that its label shows."""

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_case(name: str) -> str:
    """RandomBalanced -> random_balanced, RDSPlus -> rds_plus, MIG -> mig."""
    return _WORD.sub("_", name).lower()


def label_of(selector: Any | None) -> str:
    """The option's name, with the hyperparameters that differ from the shipped ones: rds_plus(aggregation=max).

    Of several options for one class (perplexity_top, perplexity_mid) it is the nearest; a class that siftune does not
    ship goes by its own name and defaults.
    """
    if selector is None:
        return BASE
    shipped = shipped_selectors(type(selector))
    name, changed = min(
        ((name, _differences(selector, vars(other))) for name, other in shipped.items()),
        key=lambda item: len(item[1]),
        default=(snake_case(type(selector).__name__), _differences(selector, _defaults(selector))),
    )
    return f"{name}({', '.join(changed)})" if changed else name


def label_of_rounds(refinement: Any) -> str:
    """The option's name with the settings of the rounds that differ from the default: diversify(cluster_by=source)."""
    changed = [setting for setting in _differences(refinement, _defaults(refinement)) if _name_of(setting) in ROUNDS]
    return f"{refinement.name}({', '.join(changed)})" if changed else str(refinement.name)


def _differences(selector: Any, others: dict[str, Any]) -> list[str]:
    values = {field.name: getattr(selector, field.name) for field in dataclasses.fields(selector)}
    return [f"{key}={_spell(value)}" for key, value in values.items() if key not in others or value != others[key]]


def _defaults(selector: Any) -> dict[str, Any]:
    fields = dataclasses.fields(selector)
    return {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}


def _name_of(setting: str) -> str:
    return setting.partition("=")[0]


def _spell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
