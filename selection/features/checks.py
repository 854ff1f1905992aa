"""What the configs of features refuse alike."""

from __future__ import annotations

from typing import Any


def require_at_least(config: Any, key: str, **least: int) -> None:
    """ValueError for a field of a config, whose place is `key`, that is below its least value; None is no value."""
    for name, minimum in least.items():
        value = getattr(config, name)
        if value is not None and value < minimum:
            raise ValueError(f"{key}.{name}={value} must be at least {minimum}")
