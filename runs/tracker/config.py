"""What can be set about tracking, and what of an experiment's config may be shown to others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

FORBIDDEN_IN_PROJECT = "/\\#?%:"
REDACTED = "[redacted]"
_SECRET_KEY = re.compile(
    r"(^|[_\-.])(token|secrets?|passwords?|passwd|credentials?|api_?keys?)([_\-.]|$)", re.IGNORECASE
)
_SHORTEST_SECRET = 8


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Where an experiment is followed with Weights & Biases; nothing here changes an experiment's identity."""

    mode: Literal["offline", "online", "disabled"] = field(default="offline", metadata={"identity": False})
    """offline writes W&B's files into the store (no account; `wandb sync` sends them later), online sends them,
    disabled does neither."""
    project: str = field(default="siftune", metadata={"identity": False})
    """W&B project."""
    entity: str | None = field(default=None, metadata={"identity": False})
    """W&B user or team; None is the account's default."""
    group: str | None = field(default=None, metadata={"identity": False})
    """W&B group; None is the group of the sweep."""
    tags: tuple[str, ...] = field(default=(), metadata={"identity": False})
    """W&B tags of the run, besides those that say what it is made of (runs/tracker/labels.py)."""

    def __post_init__(self) -> None:
        if self.mode not in ("offline", "online", "disabled"):
            raise ValueError(f"tracking.mode={self.mode!r} is not one of offline, online, disabled")
        if not self.project or any(character in FORBIDDEN_IN_PROJECT for character in self.project):
            raise ValueError(f"tracking.project={self.project!r} must be a name without any of {FORBIDDEN_IN_PROJECT}")
        for tag in self.tags:
            if not 1 <= len(tag) <= 64:
                raise ValueError(f"tracking.tags: {tag!r} must have 1 to 64 characters (W&B's limit)")


def secrets_of(environment: Mapping[str, str]) -> frozenset[str]:
    """The values of the variables whose name says that they are secret (HF_TOKEN, WANDB_API_KEY, ...)."""
    named = (value for name, value in environment.items() if _SECRET_KEY.search(name))
    return frozenset(value for value in named if len(value) >= _SHORTEST_SECRET)


def redact(value: Any, secrets: Iterable[str] | None = None) -> Any:
    """A copy of a JSON-like value without secrets: under keys named token, secret, password, credential or api_key, and
    wherever a secret of the environment (`secrets`; read from os.environ by default) occurs in a string."""
    found = secrets_of(os.environ) if secrets is None else secrets
    if isinstance(value, Mapping):
        return {_clean(str(key), found): _redact_item(str(key), item, found) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item, found) for item in value]
    return _clean(value, found) if isinstance(value, str) else value


def _redact_item(key: str, item: Any, secrets: Iterable[str]) -> Any:
    hidden = _SECRET_KEY.search(key) and item is not None and not isinstance(item, bool)
    return REDACTED if hidden else redact(item, secrets)


def _clean(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    return text
