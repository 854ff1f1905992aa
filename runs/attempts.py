"""What is kept of a run from the moment it starts: how to start it again, and, where it failed, its error.

A folder `attempt/<label>-<fingerprint>/` of the store, beside `run/`, which holds the records of finished runs alone:
what fingerprint a run will have is not known before its subset is picked. A run that was killed leaves its attempt as
it was when it started, and its lock free; nothing else has to be done for it to be recognised as unfinished.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from siftune.runs import provenance
from siftune.runs.artifacts import Key, write_json
from siftune.runs.config import ExperimentConfig
from siftune.runs.distributed import is_main_process
from siftune.runs.fingerprint import plain
from siftune.runs.tracker.config import redact
from siftune.selection.files import write_whole

KIND = "attempt"
FILE = "attempt.json"
TRACEBACK = "traceback.txt"
PATIENCE = 1.0
"""Seconds for which a starting run waits for its lock: a listing holds it for a moment."""
WHERE_AND_HOW = frozenset({"store", "group", "tracking", "check_resources", "runtime", "paper"})
"""Parts of the config that do not make it another run; of the others, these entries:"""
SPEED = frozenset(
    {"batch_size", "tokens_per_batch", "positions_per_batch", "micro_batch_size", "gradient_checkpointing"}
    | {"save_steps", "keep_checkpoints", "device", "workers", "memory_gb", "concurrency", "timeout", "max_retries"}
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attempt:
    """The last attempt at a run."""

    label: str
    group: str
    seed: int
    overrides: tuple[str, ...]
    """As typed; of a sweep, those of this cell."""
    cwd: str
    """Folder that relative paths of the config start from."""
    node: Mapping[str, Any]
    """The composed config, interpolations resolved: what the run is built from."""
    config: Mapping[str, Any]
    """The typed config as in the record of a run: what it was built into."""
    started: str
    """ISO 8601, UTC."""
    commit: str | None
    seconds: float | None = None
    """Until it ended; None where it has not."""
    error: str | None = None
    """What it failed by."""
    run: str | None = None
    """Folder below `run/` with the record of the run, of this attempt or, until it ends, an earlier one."""
    replaced: tuple[str, ...] = ()
    """Folders below `run/` with what earlier versions of the code recorded of this run."""


def keep_attempt(
    act: Callable[[], Path], node: Mapping[str, Any], config: ExperimentConfig, overrides: Sequence[str]
) -> Path:
    """Call `act`, which makes a run and returns the folder of its record; keep what becomes of it."""
    if not is_main_process():
        return act()
    folder, lock = _places(config.store.absolute(), node, config)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        # The same run in another process, which keeps the attempt.
        return act()
    try:
        return _keep(act, folder, _begun(folder, node, config, overrides))
    finally:
        lock.release()


def read_attempts(store: Path) -> dict[Path, Attempt]:
    """Folder -> attempt, of all that the store holds."""
    return {path.parent: _read(path.parent) for path in sorted((store / KIND).glob(f"*/{FILE}"))}


def write_attempt(folder: Path, attempt: Attempt) -> None:
    """Write it, whole or not at all."""
    write_json(folder / FILE, dataclasses.asdict(attempt))


def is_running(folder: Path) -> bool:
    """Whether a process is at it: it holds the lock, which the operating system frees when it dies."""
    path = _lock_path(folder)
    if not path.exists() or not os.access(path, os.W_OK):
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def describe(error: BaseException) -> str:
    """An error as people are told it: siftune's own by their message, others with their class."""
    text = str(redact(str(error)))
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".removesuffix(": ")


@contextmanager
def inside(folder: str) -> Iterator[None]:
    """Relative paths start from this folder."""
    here = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


def _keep(act: Callable[[], Path], folder: Path, begun: Attempt) -> Path:
    write_attempt(folder, begun)
    start = time.monotonic()
    try:
        run = act()
    except Exception as error:
        write_whole(folder / TRACEBACK, str(redact("".join(traceback.format_exception(error)))))
        seconds = round(time.monotonic() - start, 3)
        write_attempt(folder, dataclasses.replace(begun, seconds=seconds, error=describe(error)))
        raise
    (folder / TRACEBACK).unlink(missing_ok=True)
    earlier = {begun.run, *begun.replaced} - {None, run.name}
    seconds = round(time.monotonic() - start, 3)
    replaced = tuple(sorted(str(name) for name in earlier))
    write_attempt(folder, dataclasses.replace(begun, seconds=seconds, run=run.name, replaced=replaced))
    _drop_superseded(folder, begun)
    return run


def _begun(folder: Path, node: Mapping[str, Any], config: ExperimentConfig, overrides: Sequence[str]) -> Attempt:
    folder.mkdir(parents=True, exist_ok=True)
    before = _read(folder) if (folder / FILE).exists() else None
    return Attempt(
        label=config.name,
        group=config.group_name,
        seed=config.seed,
        overrides=tuple(str(redact(override)) for override in overrides),
        cwd=os.getcwd(),
        node=dict(node),
        config=plain(config),
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        commit=provenance.commit(),
        run=before.run if before else None,
        replaced=before.replaced if before else (),
    )


def _drop_superseded(folder: Path, done: Attempt) -> None:
    """The same command once failed, or was killed, under a config that siftune has since changed."""
    for other, attempt in _others(folder):
        same = (attempt.overrides, attempt.cwd, attempt.label) == (done.overrides, done.cwd, done.label)
        if same and done.overrides and attempt.run is None and not is_running(other):
            shutil.rmtree(other)


def _others(folder: Path) -> Iterator[tuple[Path, Attempt]]:
    return ((other, attempt) for other, attempt in read_attempts(folder.parent.parent).items() if other != folder)


def _places(store: Path, node: Mapping[str, Any], config: ExperimentConfig) -> tuple[Path, FileLock]:
    identity = _identity({key: value for key, value in node.items() if key not in WHERE_AND_HOW})
    folder = Key(kind=KIND, name=config.name, config=identity, inputs={}).folder(store)
    path = _lock_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    return folder, FileLock(path)


def _identity(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _identity(item) for key, item in value.items() if key not in SPEED}
    return [_identity(item) for item in value] if isinstance(value, (list, tuple)) else value


def _lock_path(folder: Path) -> Path:
    return folder.parent.parent / "locks" / f"{KIND}-{folder.name.rpartition('-')[2]}.lock"


def _read(folder: Path) -> Attempt:
    kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
    # A later siftune may keep more.
    fields = {field.name: kept[field.name] for field in dataclasses.fields(Attempt) if field.name in kept}
    lists = {name: tuple(fields[name]) for name in ("overrides", "replaced")}
    return Attempt(**(fields | lists))
