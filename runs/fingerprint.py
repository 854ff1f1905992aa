"""What makes two computations the same one: a hash of a stage's version, its typed config and its inputs' fingerprints.

Left out on purpose: paths, devices, batch sizes, worker counts and display names (fields declared with
`metadata={"identity": False}`), so that the same work done elsewhere is recognised.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

LENGTH = 16
"""Hex digits kept of the SHA-256: 64 bits, ample for the artifacts of one store."""


def identity(value: Any) -> Any:
    """The JSON form of `value` that enters a fingerprint; TypeError for values that do not hash stably."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _dataclass_identity(value)
    if isinstance(value, Mapping):
        return {_key(key): identity(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [identity(item) for item in value]
    if isinstance(value, enum.Enum):
        return identity(value.value)
    if isinstance(value, float):
        return _float_identity(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise TypeError(f"{value!r} of type {type(value).__name__} has no stable form to take a fingerprint of")


def fingerprint(*, version: int, config: Any, inputs: Mapping[str, str]) -> str:
    """16 hex digits of the SHA-256 over a stage's version, its config and its inputs' fingerprints."""
    content = {"version": version, "config": identity(config), "inputs": dict(inputs)}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:LENGTH]


def plain(value: Any) -> Any:
    """The whole of a typed config as JSON, for records and for people: what `identity` leaves out included."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class": type(value).__qualname__} | fields
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _dataclass_identity(value: Any) -> dict[str, Any]:
    fields = [field for field in dataclasses.fields(value) if field.metadata.get("identity", True)]
    return {"class": type(value).__qualname__} | {field.name: identity(getattr(value, field.name)) for field in fields}


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the mapping key {key!r} is not a string and has no stable form")
    return key


def _float_identity(value: float) -> int | float:
    if not math.isfinite(value):
        raise TypeError(f"{value!r} cannot enter a fingerprint: it is not a finite number")
    # 1000 and 1000.0 are the same budget.
    return int(value) if value.is_integer() else value
