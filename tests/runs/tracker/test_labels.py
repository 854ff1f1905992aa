"""Job types and tags of W&B runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from siftune.runs.tracker.config import TrackingConfig
from siftune.runs.tracker.labels import job_type, tags
from siftune.selection.interface import Budget


def config(**changes: Any) -> Any:
    """Of an experiment's config, what labels are made of."""
    usual = {
        "name": "mig",
        "model": SimpleNamespace(name="smollm2"),
        "pool": SimpleNamespace(name="skills"),
        "budget": Budget(96),
        "group": None,
        "selection": object(),
        "refinement": None,
        "finetune": object(),
        "evaluate": object(),
        "tracking": TrackingConfig(),
    }
    return SimpleNamespace(**usual | changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "select+train+evaluate"),
        ({"evaluate": None}, "select+train"),
        ({"refinement": object()}, "refine+train+evaluate"),
        ({"selection": None}, "evaluate"),
    ],
    ids=["a method", "not evaluated", "in rounds", "the base model"],
)
def test_job_types_say_what_is_done(changes: dict[str, Any], expected: str) -> None:
    assert job_type(config(**changes)) == expected


def test_tags_say_what_a_run_is_made_of_beside_the_users_own() -> None:
    found = tags(config(group="mig-main", tracking=TrackingConfig(tags=("table2", "model:smollm2"))))
    assert found == (
        "method:mig",
        "model:smollm2",
        "pool:skills",
        "budget:96 examples",
        "experiment:mig-main",
        "table2",
    ), "each once"
    assert tags(config(selection=None, name="base")) == ("method:base", "model:smollm2")


def test_tags_are_as_short_as_wandb_wants_them() -> None:
    (method, *_) = tags(config(name="mig(" + "x" * 80 + ")"))
    assert method == "method:mig(" + "x" * 53
