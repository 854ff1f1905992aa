"""What there is to export: a recorded run with its subset and its model, or a subset's folder."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from siftune.finetune.model_sources import ADAPTER, MODEL
from siftune.runs.artifacts import RECORD, read_record, write_json
from siftune.runs.build import ConfigError
from siftune.runs.exporting.config import ExportConfig
from siftune.runs.fingerprint import plain
from siftune.runs.reporting.records import RunRecord, read_run, read_store
from siftune.selection.pool.subset import CARD_FILE, SUBSET_FILE

CONFIG_FILE = "config.json"
"""In a subset's folder: the whole typed config of the `siftune select` that made it."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A subset, and where it came from."""

    folder: Path
    """With subset.jsonl and its card."""
    record: Mapping[str, Any]
    """Of the subset."""
    config: Mapping[str, Any] | None
    """The whole recorded config of the run or the selection that made it; None where none was kept."""
    run: RunRecord | None = None
    model: Path | None = None
    """Folder of the adapter, or of the whole model; None where there is none to export."""
    training: Mapping[str, Any] | None = None
    """The record of the training."""

    @property
    def fingerprint(self) -> str:
        """Of the subset."""
        return str(self.record["fingerprint"])

    @property
    def is_adapter(self) -> bool:
        """Whether the model is an adapter."""
        return self.model is not None and self.model.name == ADAPTER


def keep_config(folder: Path, config: Any) -> None:
    """Beside a selection's subset, how it was asked for: its record has the method, the budget and the seed alone."""
    if not (folder / CONFIG_FILE).exists():
        write_json(folder / CONFIG_FILE, plain(config))


def find_exported(config: ExportConfig) -> Exported:
    """What the config names; ConfigError says what is missing."""
    return _of_folder(config.subset, config.store) if config.subset is not None else _of_run(_find_run(config), config)


def _find_run(config: ExportConfig) -> RunRecord:
    stderr = Console(stderr=True, highlight=False)
    runs = read_store(config.store, lambda text: stderr.print(text, style="yellow", markup=False, soft_wrap=True))
    if not runs:
        raise ConfigError(f"there is no finished run in the store {config.store}: name another with store=FOLDER")
    if config.run is not None:
        found = [run for run in runs if run.fingerprint.startswith(config.run)]
    else:
        found = [run for run in runs if run.label == config.label and _fits(run, config)]
    if len(found) == 1:
        return found[0]
    asked = f"run={config.run}" if config.run is not None else f"label={config.label}"
    if not found:
        raise ConfigError(f"no run of the store {config.store} fits {asked}; it has: {_listed(runs)}")
    raise ConfigError(f"{len(found)} runs fit {asked}; name one by run=FINGERPRINT: {_listed(found)}")


def _fits(run: RunRecord, config: ExportConfig) -> bool:
    return config.seed in (None, run.seed) and config.group in (None, run.group)


def _listed(runs: Sequence[RunRecord]) -> str:
    shown = [f"{run.fingerprint} ({run.label}, seed {run.seed}, {run.budget})" for run in runs[:12]]
    return ", ".join(shown) + (f" and {len(runs) - 12} more" if len(runs) > 12 else "")


def _of_run(run: RunRecord, config: ExportConfig) -> Exported:
    inputs = json.loads((run.folder / RECORD).read_text(encoding="utf-8"))["inputs"]
    if "subset" not in inputs:
        raise ConfigError(f"the run {run.fingerprint} ({run.label}) picked nothing: there is no subset to export")
    again = "start the same run again, which computes what is missing"
    folder = _artifact(config.store, "subset", inputs["subset"])
    if folder is None:
        raise ConfigError(f"the subset {inputs['subset']} of the run {run.fingerprint} is gone from the store: {again}")
    record = read_record(folder)
    assert record is not None
    if config.what == "dataset" or "checkpoint" not in inputs:
        if config.what == "model":
            raise ConfigError(f"the run {run.fingerprint} ({run.label}) trained no model: what=dataset")
        return Exported(folder=folder, record=record, config=run.config, run=run)
    checkpoint = _artifact(config.store, "checkpoint", inputs["checkpoint"])
    model = None if checkpoint is None else _model_in(checkpoint)
    if checkpoint is None or model is None:
        raise ConfigError(
            f"the checkpoint {inputs['checkpoint']} of the run {run.fingerprint} is gone from the store: {again}, "
            "or export the data alone with what=dataset"
        )
    training = read_record(checkpoint)
    return Exported(folder=folder, record=record, config=run.config, run=run, model=model, training=training)


def _model_in(checkpoint: Path) -> Path | None:
    return next((checkpoint / name for name in (MODEL, ADAPTER) if (checkpoint / name).is_dir()), None)


def _artifact(store: Path, kind: str, fingerprint: str) -> Path | None:
    found = [path.parent for path in (store / kind).glob(f"*-{fingerprint}/{RECORD}")]
    return found[0] if found else None


def _of_folder(folder: Path, store: Path) -> Exported:
    for name in (SUBSET_FILE, CARD_FILE):
        if not (folder / name).is_file():
            raise ConfigError(
                f"subset={folder} has no {name}: name a folder that `siftune select output=...` wrote, or one below "
                "<store>/subset"
            )
    origin = folder if (folder / RECORD).is_file() else _twin(folder, store)
    if origin is None:
        raise ConfigError(
            f"subset={folder} has no {RECORD}, and no subset of the store {store} holds the same rows: name its store "
            "with store=FOLDER, or write it again with `siftune select ... output=FOLDER`"
        )
    record = read_record(origin)
    if record is None or record["kind"] != "subset":
        raise ConfigError(f"{origin / RECORD} is not the record of a subset")
    return Exported(folder=folder, record=record, config=_config_of(origin, record["fingerprint"], store))


def _twin(folder: Path, store: Path) -> Path | None:
    """The subset of the store with the same rows: an older `siftune select` copied no record."""
    candidates = (path.parent for path in sorted((store / "subset").glob(f"*/{RECORD}")))
    same = (path for path in candidates if filecmp.cmp(path / SUBSET_FILE, folder / SUBSET_FILE, shallow=False))
    return next(same, None)


def _config_of(folder: Path, fingerprint: str, store: Path) -> Mapping[str, Any] | None:
    """As the selection kept it, or as a run that has this subset recorded it."""
    if (folder / CONFIG_FILE).is_file():
        config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        return config
    for path in sorted((store / "run").glob(f"*/{RECORD}")):
        if json.loads(path.read_text(encoding="utf-8"))["inputs"].get("subset") == fingerprint:
            return read_run(path.parent).config
    return None
