"""Which paper's table runs stand for, by what was recorded of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from siftune.runs.attempts import read_attempts
from siftune.runs.build import ConfigError, build
from siftune.runs.paper import Paper
from siftune.runs.reporting.records import RunRecord

SCALE = "scale="


def recorded_paper(runs: Sequence[RunRecord], store: Path) -> tuple[Paper | None, bool]:
    """The table that all of these runs were made for (None: they differ in it), and whether they are its miniature."""
    trained = [run for run in runs if not run.is_base]
    recorded = [run.config.get("paper") for run in trained]
    if not recorded or any(paper is None or paper != recorded[0] for paper in recorded):
        return None, False
    try:
        paper: Paper = build(Paper, _without_classes(recorded[0]))
    except ConfigError:
        # Of another version of siftune, which described tables otherwise.
        return None, False
    return paper, _is_scaled(trained, store)


def _is_scaled(runs: Sequence[RunRecord], store: Path) -> bool:
    """Whether any of them was started with `scale=...`."""
    names = {run.folder.name for run in runs}
    attempts = [attempt for attempt in read_attempts(store.absolute()).values() if attempt.run in names]
    given = [word.lstrip("+") for attempt in attempts for word in attempt.overrides]
    return any(word.startswith(SCALE) and word != f"{SCALE}null" for word in given)


def _without_classes(value: Any) -> Any:
    """As it stands in a YAML: records name the class of everything."""
    if isinstance(value, Mapping):
        return {key: _without_classes(item) for key, item in value.items() if key != "class"}
    return [_without_classes(item) for item in value] if isinstance(value, list) else value
