"""Whether a recorded run is what the code would make of the same config today.

The stages of the recorded config are passed as a plan passes them, computing nothing, down to the fingerprint that the
run would have. Where that cannot be told for certain (an artifact is gone that later stages look into, a file of the
pool is missing, the config is no longer understood), the run is not called stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from siftune.runs.artifacts import Artifact, Stage, read_record
from siftune.runs.attempts import Attempt, inside
from siftune.runs.config import experiment_config
from siftune.runs.experiment import begin
from siftune.runs.fingerprint import plain
from siftune.runs.pending import NotComputedError
from siftune.runs.planning.workspace import PlanningWorkspace
from siftune.runs.reporting.records import RunRecord


class _Finding(PlanningWorkspace):
    """Passes stages without reading so much as a pool; it ends at the first one that is not there."""

    missing: Stage | None = None

    def _read(self, stage: Stage) -> Artifact:
        if found := self.store.find(stage):
            return found
        self.missing = stage
        raise NotComputedError(stage.kind)


def why_stale(attempt: Attempt, record: RunRecord, store: Path) -> str | None:
    """What has changed since the run was recorded; None where nothing has, or where that cannot be told."""
    workspace = _Finding(store)
    try:
        # What libraries print is not for the list.
        with redirect_stdout(sys.stderr), inside(attempt.cwd):
            experiment = begin(experiment_config({**attempt.node, "store": str(store)}), workspace)
            checkpoint = experiment.checkpoint_stage()
            evaluation = experiment.evaluation_stage(checkpoint)
            key = experiment.run_key(checkpoint, evaluation)
    except (NotComputedError, ValueError, OSError):
        # All that is sure is that the rows are others, where the pool is one that the run never passed.
        return next(_changes([workspace.missing], record, store), None)
    unsure = workspace.undecided or any(noted.unsure for noted in workspace.noted.values())
    if unsure or key.fingerprint == record.fingerprint:
        return None
    passed = [*(noted.stage for noted in workspace.noted.values()), checkpoint, evaluation]
    return next(_changes(passed, record, store), "it is made of other stages now")


def _changes(stages: Iterable[Stage | None], record: RunRecord, store: Path) -> Iterator[str]:
    """What is new about each stage that the recorded run did not pass."""
    recorded = read_record(record.folder)
    before = [] if recorded is None else recorded["summary"]["stages"]
    known = {stage["fingerprint"] for stage in before}
    for stage in stages:
        if stage is not None and stage.fingerprint not in known:
            same = [old for old in before if (old["kind"], old["name"]) == (stage.kind, stage.name)]
            yield f"{stage.kind} {stage.name}: {_change(stage, _found(store, same))}"


def _found(store: Path, stages: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    folders = [folder for old in stages for folder in (store / old["kind"]).glob(f"*-{old['fingerprint']}")]
    return read_record(folders[0]) if folders else None


def _change(stage: Stage, old: Mapping[str, Any] | None) -> str:
    if old is None:
        return "is another one now"
    if old["version"] != stage.version:
        return f"made by version {old['version']} of the stage, which is now version {stage.version}"
    now = plain(stage.config)
    if now != old["config"]:
        keys = [key for key in {**old["config"], **now} if old["config"].get(key) != now.get(key)]
        return f"its settings are others now ({', '.join(keys)})"
    names = [name for name in {**old["inputs"], **stage.inputs} if old["inputs"].get(name) != stage.inputs.get(name)]
    return f"its inputs have changed ({', '.join(names)})"
