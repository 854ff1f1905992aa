"""How long a stage takes, from records of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from siftune.runs import provenance
from siftune.runs.artifacts import Stage
from siftune.runs.planning.history import recorded_seconds


def stage(kind: str = "embeddings", **config: Any) -> Stage:
    inputs = {"model": "m", "pool": "p"}
    return Stage(kind=kind, name="x", config={"seed": 0} | config, inputs=inputs, build=lambda folder: {})


def record(store: Path, number: int, seconds: float, tokens: int | None, **changes: Any) -> None:
    own = stage()
    content = {
        "version": own.version,
        "hardware": provenance.hardware(),
        "config": {"seed": number},
        "inputs": {"model": "m", "pool": "p"},
        "seconds": seconds,
        "summary": {} if tokens is None else {"tokens": tokens},
    }
    folder = store / changes.pop("kind", own.kind) / f"x-{number}"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(content | changes))


def test_nothing_is_known_without_records(tmp_path: Path) -> None:
    assert recorded_seconds(stage(), 1000, tmp_path) is None


def test_one_record_gives_a_rate(tmp_path: Path) -> None:
    record(tmp_path, 0, seconds=50, tokens=1000)
    assert recorded_seconds(stage(), 3000, tmp_path) == pytest.approx(150)
    assert recorded_seconds(stage(), None, tmp_path) is None


def test_a_small_record_says_nothing_of_a_large_stage(tmp_path: Path) -> None:
    record(tmp_path, 0, seconds=50, tokens=1000)
    assert recorded_seconds(stage(), 8000, tmp_path) == pytest.approx(400)
    assert recorded_seconds(stage(), 8001, tmp_path) is None


def test_records_of_several_sizes_tell_loading_and_rate_apart(tmp_path: Path) -> None:
    # 10 seconds of loading, and 0.02 a token.
    for number, tokens in enumerate((1000, 2000, 5000)):
        record(tmp_path, number, seconds=10 + 0.02 * tokens, tokens=tokens)
    assert recorded_seconds(stage(), 20_000, tmp_path) == pytest.approx(410)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"seed": 0, "max_length": 5}},
        {"inputs": {"model": "another", "pool": "p"}},
        {"hardware": {"cores": 1000}},
        {"version": 7},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_other_computations_do_not_count(changes: dict[str, Any], tmp_path: Path) -> None:
    record(tmp_path, 0, seconds=50, tokens=1000, **changes)
    assert recorded_seconds(stage(), 1000, tmp_path) is None


def test_a_selection_takes_what_it_took_with_other_seeds_on_the_same_pool(tmp_path: Path) -> None:
    for number, seconds in enumerate((4, 6, 50)):
        record(tmp_path, number, seconds, None, kind="subset")
    record(tmp_path, 9, 1000, None, kind="subset", inputs={"model": "m", "pool": "another"})
    assert recorded_seconds(stage("subset"), None, tmp_path) == 6
