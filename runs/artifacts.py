"""The store of artifacts: every stage's result is computed once, by one process, and found again by its fingerprint.

A folder `<kind>/<name>-<fingerprint>/` is finished when it holds `record.json`, which is written last and atomically.
A folder without one is unfinished: the stage is called again on it and continues from what it finds.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from siftune.runs import provenance
from siftune.runs.cost import Cost
from siftune.runs.distributed import is_main_process
from siftune.runs.fingerprint import fingerprint, plain
from siftune.runs.metering import Meter, measured_of
from siftune.runs.spending import stage_cost
from siftune.selection.features.endpoint.endpoint import Endpoint
from siftune.selection.files import write_whole

RECORD = "record.json"
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


@dataclass(frozen=True)
class Artifact:
    """A finished stage."""

    folder: Path
    record: Mapping[str, Any]
    cached: bool
    """Whether it was found rather than computed by this call."""

    @property
    def fingerprint(self) -> str:
        """The 16 hex digits that name it."""
        return str(self.record["fingerprint"])

    @property
    def summary(self) -> Mapping[str, Any]:
        """What the stage said of its own result."""
        summary: Mapping[str, Any] = self.record["summary"]
        return summary

    @property
    def content(self) -> Path:
        """Its folder, to be read from now."""
        return self.folder

    def array(self, name: str) -> np.ndarray:
        """An array of its folder, memory-mapped."""
        mapped: np.ndarray = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return mapped


@dataclass(frozen=True, kw_only=True)
class Key:
    """What makes an artifact the one it is."""

    kind: str
    name: str
    config: Any
    """The typed config: what of it counts is its `identity`."""
    inputs: Mapping[str, str]
    """name -> fingerprint or content digest."""
    version: int = 1
    """Raised when the stage's code computes something else from the same config."""

    @property
    def fingerprint(self) -> str:
        """The 16 hex digits that name the result, before it is computed."""
        return fingerprint(version=self.version, config={"kind": self.kind, "of": self.config}, inputs=self.inputs)

    def folder(self, store: Path) -> Path:
        """Where the result lies."""
        return store / self.kind / f"{_UNSAFE.sub('-', self.name)}-{self.fingerprint}"


@dataclass(frozen=True, kw_only=True)
class Stage(Key):
    """A computation to be done once: its identity, and how to do it."""

    build: Callable[[Path], Mapping[str, Any]]
    """Called with the artifact's folder, perhaps with the remains of a killed attempt in it; returns the summary."""
    intact: Callable[[Path], bool] = lambda folder: True
    """Whether a finished artifact's files still are what they were, where the stage can tell."""
    endpoints: tuple[Endpoint, ...] = ()
    """Whom `build` asks besides those that the config names."""
    cost: Callable[[], Cost] = Cost
    """An estimate of what `build` takes, made without doing it: a plan asks for it where there is no artifact."""
    spent: Callable[[Mapping[str, Any]], Cost] | None = None
    """What it took, by its summary; None: the estimate, as many times as its tokens were more or fewer."""


class Store:
    """A folder of artifacts that any number of processes may share."""

    def __init__(self, root: Path, on_wait: Callable[[Stage], None] = lambda stage: None) -> None:
        self.root = root
        self._on_wait = on_wait

    def find(self, stage: Stage) -> Artifact | None:
        """The stage's finished artifact, or None."""
        record = read_record(stage.folder(self.root))
        return None if record is None else Artifact(stage.folder(self.root), record, cached=True)

    def ensure(self, stage: Stage, *, collective: bool = False) -> Artifact:
        """Find the stage's artifact or compute it; a second process that needs it waits for the first.

        Of the ranks of a distributed launch the first one computes, and the others wait for its record; a `collective`
        stage is computed by all of them together.
        """
        found = self.find(stage)
        if found is not None:
            return found
        if not is_main_process():
            if collective:
                stage.build(stage.folder(self.root))
            return self._await(stage)
        with self._lock(stage):
            return self.find(stage) or self._compute(stage)

    def reopen(self, stage: Stage) -> None:
        """Make a finished artifact an unfinished one, which the next call resumes."""
        record = read_record(stage.folder(self.root))
        if record is not None:
            self._meter(stage).remember(measured_of(record))
        (stage.folder(self.root) / RECORD).unlink(missing_ok=True)

    @contextmanager
    def _lock(self, stage: Stage) -> Iterator[None]:
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        # The operating system frees the lock when its process dies, so that a killed run never leaves the store locked.
        lock = FileLock(folder / f"{stage.kind}-{stage.fingerprint}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self._on_wait(stage)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _await(self, stage: Stage) -> Artifact:
        while (found := self.find(stage)) is None:
            time.sleep(0.2)
        return found

    def _compute(self, stage: Stage) -> Artifact:
        folder = stage.folder(self.root)
        folder.mkdir(parents=True, exist_ok=True)
        with self._meter(stage) as meter:
            summary = stage.build(folder)
        cost = stage_cost(stage, summary, meter.measured)
        record = new_record(stage, summary, meter.measured.seconds) | {"cost": cost}
        write_json(folder / RECORD, record)
        meter.forget()
        return Artifact(folder, record, cached=False)

    def _meter(self, stage: Stage) -> Meter:
        """What attempts took that were killed lies beside the stage's lock: its folder is the stage's own."""
        return Meter(self.root / "locks" / f"{stage.kind}-{stage.fingerprint}.json")


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a finished artifact's folder, or None where there is none."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return record


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file is either absent, as it was, or whole, even after a power cut."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def new_record(key: Key, summary: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """What is kept of a finished stage: what it was, what went in, what came out, and where and how it was made."""
    return {
        "kind": key.kind,
        "name": key.name,
        "fingerprint": key.fingerprint,
        "version": key.version,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "commit": provenance.commit(),
        "argv": provenance.command_line(),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
        "config": plain(key.config),
        "inputs": dict(key.inputs),
        "summary": dict(summary),
    }
