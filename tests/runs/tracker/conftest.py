"""Trackers for tests, and what W&B wrote of them: its run files, read back record by record."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from siftune.runs.tracker.config import TrackingConfig
from siftune.runs.tracking import Tracker


class RunFile:
    """One W&B run file; every reading reads it anew, for W&B may still be writing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def records(self, kind: str) -> list[Any]:
        """What the records of one kind hold."""
        return [getattr(record, kind) for record in _records(self.path) if record.HasField(kind)]

    def history(self) -> list[dict[str, Any]]:
        """The rows that were logged, with their `step`."""
        rows = []
        for row in self.records("history"):
            items = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in row.item}
            rows.append(items | {"step": row.step.num})
        return rows

    def artifacts(self) -> list[tuple[str, str, bool]]:
        """(type, name, used) of the artifacts declared, without W&B's own of the tables."""
        found = self.records("artifact")
        return [(item.type, item.name, item.use_after_commit) for item in found if item.type != "run_table"]

    def summary(self) -> dict[str, Any]:
        """Key -> its last value."""
        updates = [item for record in self.records("summary") for item in record.update]
        return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in updates}

    def charts(self) -> dict[str, dict[str, Any]]:
        """Key -> W&B's own chart: what is drawn, and which columns of its table."""
        updates = [item for record in self.records("config") for item in record.update]
        shown = [item for item in updates if list(item.nested_key[:2]) == ["_wandb", "visualize"]]
        return {item.nested_key[2]: json.loads(item.value_json)["panel_config"] for item in shown}


def _records(file: Path) -> Iterator[Any]:
    """The records of a W&B run file: a LevelDB log (32 KiB blocks of crc, length, type) after seven bytes of header."""
    messages = import_module("wandb.proto.wandb_internal_pb2")
    data, position, message = file.read_bytes(), 7, b""
    while position < len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        message += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            record = messages.Record()
            record.ParseFromString(message)
            message = b""
            yield record


@pytest.fixture(scope="session")
def run_files() -> Callable[[Path], list[RunFile]]:
    """Of a folder: W&B's run files in order of time, once its process has written all of them."""

    def found(folder: Path) -> list[RunFile]:
        import wandb

        wandb.teardown()
        return [RunFile(path) for path in sorted(folder.glob("offline-run-*/*.wandb"))]

    return found


@pytest.fixture(scope="session")
def tables_of() -> Callable[[Path], dict[str, Any]]:
    """Of a folder: key -> the table that was logged under it."""

    def found(folder: Path) -> dict[str, Any]:
        tables = {}
        for file in folder.rglob("media/table/**/*.table.json"):
            key = file.relative_to(next(parent for parent in file.parents if parent.name == "table"))
            tables[re.sub(r"_\d+_[0-9a-f]+\.table\.json$", "", key.as_posix())] = json.loads(file.read_text())
        return tables

    return found


@pytest.fixture(scope="session")
def tracker() -> Callable[..., Tracker]:
    """tracker(folder, resolved, **fields): of an experiment with that resolved config; fields of `TrackingConfig`."""

    def made(folder: Path, resolved: dict[str, Any] | None = None, **fields: Any) -> Tracker:
        config = TrackingConfig(**fields)
        return Tracker(config, "f00dfeed", "rds_plus seed 0", "sweep-1", resolved or {}, folder, "select+train")

    return made


@pytest.fixture
def hf_token(monkeypatch: pytest.MonkeyPatch) -> str:
    """A secret in the environment."""
    token = "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"
    monkeypatch.setenv("HF_TOKEN", token)
    return token
