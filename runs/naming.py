"""Names for people: how a method and its hyperparameters are called in tables, plots and folders."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

BASE = "base"
"""The label of the model that was not trained."""

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_case(name: str) -> str:
    """RandomBalanced -> random_balanced, RDSPlus -> rds_plus, MIG -> mig."""
    return _WORD.sub("_", name).lower()


def label_of(selector: Any | None) -> str:
    """The method's name, with the hyperparameters that differ from their defaults: rds_plus(aggregation=max)."""
    if selector is None:
        return BASE
    changed = [
        f"{field.name}={_spell(getattr(selector, field.name))}"
        for field in dataclasses.fields(selector)
        if field.default is dataclasses.MISSING or getattr(selector, field.name) != field.default
    ]
    name = snake_case(type(selector).__name__)
    return f"{name}({', '.join(changed)})" if changed else name


def _spell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
