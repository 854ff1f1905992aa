"""The artifacts of an experiment as W&B sees them: which was made from which."""

from __future__ import annotations

from siftune.runs.artifacts import Artifact
from siftune.runs.picking import Subset
from siftune.runs.tracking import Tracker

SHARED_FILES = {
    "subset": ("subset.jsonl", "README.md"),
    "checkpoint": ("adapter/*.safetensors", "adapter/*.json"),
    "evaluation": ("tasks/*.json", "samples/*.jsonl"),
}
"""What of an artifact's folder goes to W&B, by kind; a full fine-tune's model stays where it is."""


def declare(tracker: Tracker, subset: Subset | None, checkpoint: Artifact | None, evaluation: Artifact | None) -> None:
    """pool -> subset -> checkpoint -> evaluation; the pool by its summary alone, never its text."""
    before: Artifact | None = None
    if subset is not None:
        before = subset.pool.artifact
        tracker.artifact("pool", _name(before), before.folder, [], [], before.summary)
    for artifact in (subset.artifact if subset else None, checkpoint, evaluation):
        if artifact is not None:
            _declare_output(tracker, artifact, before)
            before = artifact


def _declare_output(tracker: Tracker, artifact: Artifact, before: Artifact | None) -> None:
    kind, folder = artifact.record["kind"], artifact.folder
    files = [file for pattern in SHARED_FILES[kind] for file in sorted(folder.glob(pattern))]
    inputs = [] if before is None else [_name(before)]
    headlines = {key: value for key, value in artifact.summary.items() if not isinstance(value, list)}
    tracker.artifact(kind, _name(artifact), folder, files, inputs, headlines)


def _name(artifact: Artifact) -> str:
    return f"{artifact.record['kind']}-{artifact.record['name']}-{artifact.fingerprint}"
