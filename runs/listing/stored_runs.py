"""The runs of a store: those that are recorded, and those that were started and are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from siftune.runs.attempts import TRACEBACK, Attempt, is_running, read_attempts
from siftune.runs.build import ConfigError
from siftune.runs.listing.config import RunsConfig, State
from siftune.runs.reporting.records import RunRecord, read_store

ID_DIGITS = 8
"""Of an id that are shown, at the least."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A line of the list."""

    id: str
    """Fingerprint of the run's record; of its attempt where there is none."""
    label: str
    group: str | None
    seed: int
    state: State
    when: str
    """ISO 8601, UTC: when it was recorded, or started."""
    seconds: float | None
    """What the result cost to compute, or how long the failed attempt took."""
    record: RunRecord | None
    folder: Path | None
    """Of the attempt; None for a run that an older siftune recorded."""
    attempt: Attempt | None
    why: str | None = None
    """The error of a failed run; what has changed since a stale one."""

    @property
    def short_id(self) -> str:
        """As much of it as is shown: with a letter that keeps Hydra from reading it as a number."""
        lengths = range(ID_DIGITS, len(self.id) + 1)
        return next((self.id[:length] for length in lengths if set(self.id[:length]) - set("0123456789e")), self.id)

    @property
    def headline(self) -> float | None:
        """The score, where there is one."""
        return None if self.record is None else self.record.headline

    @property
    def config(self) -> Mapping[str, Any]:
        """The typed config, as it was recorded."""
        source = self.record or self.attempt
        assert source is not None
        return source.config

    @property
    def traceback(self) -> Path | None:
        """The file with the trace of the error."""
        path = None if self.folder is None or self.state != "failed" else self.folder / TRACEBACK
        return path if path is not None and path.is_file() else None

    def has_id(self, beginning: str) -> bool:
        """Whether its id, or that of its attempt, begins so."""
        ids = [self.id, *([_fingerprint(self.folder)] if self.folder else [])]
        return any(identifier.startswith(beginning) for identifier in ids)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        plain = {name: getattr(self, name) for name in ("id", "label", "group", "seed", "state", "when", "seconds")}
        overrides = None if self.attempt is None else list(self.attempt.overrides)
        places = {
            "record": None if self.record is None else str(self.record.folder),
            "traceback": None if self.traceback is None else str(self.traceback),
        }
        return plain | {"headline": self.headline, "why": self.why, "overrides": overrides} | places


def list_runs(
    config: RunsConfig,
    complain: Callable[[str], None],
    why_stale: Callable[[Attempt, RunRecord, Path], str | None],
) -> list[Run]:
    """The runs that the config asks for, oldest first; `why_stale` is asked where it matters."""
    store = config.store.absolute()
    chosen = [run for run in _all_runs(store, complain) if _is_asked_for(run, config)]
    if config.finds_stale:
        chosen = [_aged(run, store, why_stale) for run in chosen]
    chosen = [run for run in chosen if config.state is None or run.state == config.state]
    return sorted(chosen, key=lambda run: (datetime.fromisoformat(run.when), run.label, run.seed))


def by_id(runs: Sequence[Run], beginning: str) -> Run:
    """The one run whose id begins so; ConfigError for none or several."""
    found = [run for run in runs if beginning and run.has_id(beginning)]
    if len(found) != 1:
        what = "no run's" if not found else f"{len(found)} runs'"
        raise ConfigError(f"{beginning!r} is the beginning of {what} id: `siftune runs` shows the ids")
    return found[0]


def _all_runs(store: Path, complain: Callable[[str], None]) -> Iterator[Run]:
    records = {record.folder.name: record for record in read_store(store, complain)}
    attempts = read_attempts(store)
    for folder, attempt in attempts.items():
        yield _attempted(folder, attempt, records.get(attempt.run or ""))
    known = {name for attempt in attempts.values() for name in (attempt.run, *attempt.replaced)}
    for name, record in records.items():
        if name not in known:
            yield Run(
                id=record.fingerprint,
                label=record.label,
                group=record.group,
                seed=record.seed,
                state="done",
                when=record.created,
                seconds=record.seconds,
                record=record,
                folder=None,
                attempt=None,
            )


def _attempted(folder: Path, attempt: Attempt, record: RunRecord | None) -> Run:
    state = _state(folder, attempt, record)
    done = record if state == "done" else None
    return Run(
        id=_fingerprint(folder) if done is None else done.fingerprint,
        label=attempt.label,
        group=attempt.group,
        seed=attempt.seed,
        state=state,
        when=attempt.started if done is None else done.created,
        seconds=attempt.seconds if done is None else done.seconds,
        record=done,
        folder=folder,
        attempt=attempt,
        why=attempt.error,
    )


def _state(folder: Path, attempt: Attempt, record: RunRecord | None) -> State:
    if is_running(folder):
        return "running"
    if attempt.error is not None:
        return "failed"
    # Also where a later attempt, which would only have found it, was killed.
    return "unfinished" if record is None else "done"


def _aged(run: Run, store: Path, why_stale: Callable[[Attempt, RunRecord, Path], str | None]) -> Run:
    if run.record is None or run.attempt is None:
        return run
    why = why_stale(run.attempt, run.record, store)
    return run if why is None else replace(run, state="stale", why=why)


def _is_asked_for(run: Run, config: RunsConfig) -> bool:
    return (
        (config.group is None or run.group == config.group)
        and (config.label is None or run.label == config.label or fnmatchcase(run.label, config.label))
        and (config.seed is None or run.seed == config.seed)
    )


def _fingerprint(folder: Path) -> str:
    return folder.name.rpartition("-")[2]
