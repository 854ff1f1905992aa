"""What `tracking` may be set to, and which values W&B never sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from siftune.runs.tracker.config import REDACTED, TrackingConfig, redact


@pytest.mark.parametrize(
    ("key", "hidden"),
    [
        ("token", True), ("hf_token", True), ("api_key", True), ("WANDB_API_KEY", True), ("client-secret", True),
        ("db_password", True), ("max_new_tokens", False), ("tokens_per_batch", False), ("tokenizer", False),
        ("key", False),
    ],
)  # fmt: skip
def test_redacted_keys(key: str, hidden: bool) -> None:
    assert redact({"a": [{key: "value"}]}, secrets=()) == {"a": [{key: REDACTED if hidden else "value"}]}


def test_unset_secret_stays_visible() -> None:
    assert redact({"token": None, "use_token": False}, secrets=()) == {"token": None, "use_token": False}


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"mode": "on"}, "tracking.mode"), ({"project": "a/b"}, "tracking.project"), ({"tags": ("",)}, "tracking.tags")],
)
def test_config_is_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        TrackingConfig(**fields)


@pytest.mark.parametrize("mode", ["offline", "online", "disabled"])
def test_yaml(repository: Path, mode: str) -> None:
    import yaml

    values = yaml.safe_load((repository / "conf" / "tracking" / f"{mode}.yaml").read_text())
    assert TrackingConfig(**values | {"tags": tuple(values["tags"])}) == TrackingConfig(mode=mode)
    assert set(values) == set(TrackingConfig.__dataclass_fields__)
