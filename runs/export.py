"""`siftune export`: a subset, and the model trained on it, as folders that the hub takes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from siftune.finetune.model_sources import ModelRef
from siftune.runs.artifacts import RECORD, read_record, write_json
from siftune.runs.build import ConfigError, build
from siftune.runs.commands import quiet_libraries
from siftune.runs.exporting.config import ExportConfig
from siftune.runs.exporting.dataset_card import DatasetFacts, dataset_card
from siftune.runs.exporting.model_card import ModelFacts, model_card
from siftune.runs.exporting.push import RepoType, push_folder, require_token
from siftune.runs.exporting.remaking import remaking, short_names, shortened
from siftune.runs.exporting.sources import Exported, find_exported
from siftune.runs.exporting.statistics import TokenCounter, statistics_of
from siftune.runs.rebuild import LEFT_OUT
from siftune.runs.tracker.config import redact
from siftune.selection.pool.subset import CARD_FILE, SUBSET_FILE, front_matter, json_columns, read_subset

DATASET, MODEL = "dataset", "model"
PROVENANCE_FILE = "provenance.json"
BASE_KEYS = ("base_model_name_or_path", "_name_or_path", "name_or_path")
"""Entries of a model's files that hold the folder, on this machine, that the base model was loaded from."""


def check_export(node: Mapping[str, Any]) -> None:
    """Refuse what is not there, what would overwrite, and an upload without a token."""
    config: ExportConfig = build(ExportConfig, node)
    find_exported(config)
    _check_output(config)
    if config.push is not None:
        require_token(config.push)


def export(node: Mapping[str, Any]) -> Path:
    """Write the folders; returns the one that holds them."""
    config: ExportConfig = build(ExportConfig, node)
    quiet_libraries()
    exported = find_exported(config)
    _check_output(config)
    partial = config.output.with_name(f".{config.output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if config.what != "model":
        _write_dataset(partial / DATASET, exported, config)
    if exported.model is not None:
        _write_model(partial / MODEL, exported, config)
    if config.output.exists():
        shutil.rmtree(config.output)
    partial.replace(config.output)
    console = Console(stderr=True, highlight=False)
    for folder in sorted(config.output.iterdir()):
        console.print(f"{folder.name}: [bold]{folder}[/]", soft_wrap=True)
        if config.push is not None:
            kind: RepoType = "dataset" if folder.name == DATASET else "model"
            console.print(f"  uploaded: {push_folder(folder, config.push, kind, config.private)}", soft_wrap=True)
    return config.output


def _check_output(config: ExportConfig) -> None:
    if not config.output.exists():
        return
    if not config.output.is_dir():
        raise ConfigError(f"output={config.output} is a file: name a folder")
    held = {path.name for path in config.output.iterdir()}
    if held and not config.overwrite:
        raise ConfigError(f"output={config.output} is there already: name another folder, or add overwrite=true")
    if others := sorted(held - {DATASET, MODEL}):
        raise ConfigError(f"output={config.output} holds {', '.join(others[:3])}: no export, so name another")


def _write_dataset(folder: Path, exported: Exported, config: ExportConfig) -> None:
    folder.mkdir()
    data_file = SUBSET_FILE if config.format == "jsonl" else SUBSET_FILE.replace(".jsonl", ".parquet")
    if config.format == "jsonl":
        shutil.copyfile(exported.folder / SUBSET_FILE, folder / SUBSET_FILE)
    else:
        _write_parquet(exported.folder, folder / data_file)
    in_rounds = exported.config is not None and exported.config.get("refinement") is not None
    command, rebuilt = remaking(exported, "run" if in_rounds else "select", config.store)
    typed = None if rebuilt is None else rebuilt.config
    counter = _token_counter(exported, config.store, None if typed is None else typed.model)
    facts = DatasetFacts(
        columns=front_matter(exported.folder, data_file),
        json_columns=json_columns(exported.folder),
        inputs=list(_inputs(exported, config.store)),
        pool_files=_pool_files(exported, config.store),
        statistics=statistics_of(read_subset(exported.folder), config.license_column, counter),
        remaking=command,
        repo=config.push or "path/to/this/folder",
    )
    (folder / CARD_FILE).write_text(dataset_card(exported, facts), encoding="utf-8")
    _write_provenance(folder / PROVENANCE_FILE, exported, command.text)


def _write_parquet(subset: Path, file: Path) -> None:
    from tempfile import TemporaryDirectory

    from datasets import load_dataset

    with TemporaryDirectory() as cache:
        load_dataset(str(subset), split="train", cache_dir=cache).to_parquet(str(file))


def _write_provenance(file: Path, exported: Exported, command: str) -> None:
    """The records behind the card, for programs; folders of this machine and secrets left out."""
    config = {key: value for key, value in (exported.config or {}).items() if key not in LEFT_OUT}
    kept = ("fingerprint", "created", "commit", "versions", "inputs", "config", "summary")
    records = {"subset": {key: exported.record[key] for key in kept}, "command": command, "config": config}
    write_json(file, redact(shortened(records, short_names(config))))


def _write_model(folder: Path, exported: Exported, config: ExportConfig) -> None:
    assert exported.model is not None
    assert exported.run is not None
    assert exported.config is not None
    shutil.copytree(exported.model, folder)
    base = exported.config["model"]
    local = base["class"] != "HubModel" or Path(base["path"]).expanduser().exists()
    facts = ModelFacts(
        base=base["name"],
        base_id=None if local else base["path"],
        dataset=config.push if config.what == "all" else None,
        with_dataset=config.what == "all",
        repo=config.push or "path/to/this/folder",
        remaking=remaking(exported, "run", config.store)[0],
    )
    for file in folder.glob("*.json"):
        _name_base(file, facts.base_id or facts.base)
    (folder / CARD_FILE).write_text(model_card(exported, exported.run, facts), encoding="utf-8")


def _name_base(file: Path, base: str) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    found = [key for key in BASE_KEYS if isinstance(content, dict) and isinstance(content.get(key), str)]
    if found:
        write_json(file, content | dict.fromkeys(found, base))


def _inputs(exported: Exported, store: Path) -> Iterator[tuple[str, str, str]]:
    """(what, name, fingerprint) of the signals behind the picks."""
    for what, fingerprint in exported.record["inputs"].items():
        if what != "pool":
            found = next(iter(sorted(store.glob(f"*/*-{fingerprint}/{RECORD}"))), None)
            name = "not in the store" if found is None else f"`{json.loads(found.read_text('utf-8'))['name']}`"
            yield what, name, fingerprint


def _pool_files(exported: Exported, store: Path) -> dict[str, str]:
    """What the pool was read from -> its digest, or commit: of the pool's record, where the store has it."""
    fingerprint = exported.record["inputs"].get("pool")
    while fingerprint is not None:
        folder = next(iter(store.glob(f"pool/*-{fingerprint}")), None)
        record = None if folder is None else read_record(folder)
        if record is None:
            return {}
        if "pool" not in record["inputs"]:
            return {_called(what): digest for what, digest in record["inputs"].items()}
        # A pool after its steps: what it was made from.
        fingerprint = record["inputs"]["pool"]
    return {}


def _called(what: str) -> str:
    """An input of a pool's record, for people."""
    if what.startswith("file-"):
        return f"file {int(what.removeprefix('file-')) + 1} of the pool, SHA-256"
    return {"hub": "pool on the hub, at its commit", "generator": "version of the pool's generator"}.get(what, what)


def _token_counter(exported: Exported, store: Path, model: Any | None) -> TokenCounter | None:
    """With the tokenizer that was saved with the model, else the base model's, where it is at hand."""
    from siftune.finetune.model import load_tokenizer
    from siftune.runs.planning.workspace import PlanningWorkspace

    if model is None:
        return None
    try:
        if exported.model is not None:
            reference = ModelRef(str(exported.model), max_length=model.max_length)
        else:
            stored = PlanningWorkspace(store).model(model)
            if model.needs_build and (stored.folder is None or not stored.folder.is_dir()):
                return None
            reference = stored.reference
        return TokenCounter(name=model.name, tokenizer=load_tokenizer(reference), max_length=reference.max_length)
    except (ValueError, OSError):
        # The card says that none are counted: it is no reason not to export.
        return None
