"""`siftune measure`: how diverse a pool is, or subsets of it, by NovelSum and the measures it is judged against."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from siftune.runs.build import ConfigError, build
from siftune.runs.commands import check_encoder, check_output, quiet_libraries
from siftune.runs.distributed import is_main_process
from siftune.runs.measuring.config import MeasureConfig
from siftune.runs.measuring.report import MeasuredSet, MeasureReport
from siftune.runs.measuring.sets import NamedSet, recorded_picks, sets_of
from siftune.runs.measuring.stages import REASONS_FILE, DiversityMeter, GivenVectors, Vectors
from siftune.runs.measuring.table import markdown, print_table
from siftune.runs.workspace import StoredPool, Workspace
from siftune.selection.features.arrays import GivenArrays
from siftune.selection.files import write_whole
from siftune.selection.kernels.validation import require_finite


def check_measure(node: Mapping[str, Any]) -> None:
    """Refuse what could not be measured, before anything is computed."""
    config: MeasureConfig = build(MeasureConfig, node)
    config.runtime.check()
    config.arrays.require_files()
    check_output(config.folder)
    if config.runs is None:
        config.pool.inputs()
    else:
        recorded_picks(config.store, config.runs)
    if config.reference is not None:
        config.reference.inputs()
    for name, path in config.subsets.items():
        if not path.exists():
            raise ConfigError(f"subsets.{name}={path}: there is no such file or folder")
    if config.reads_embeddings and config.arrays.embeddings is None:
        check_encoder(config.encoder)


def measure(node: Mapping[str, Any]) -> MeasureReport:
    """Measure, print and write; returns what was found."""
    config: MeasureConfig = build(MeasureConfig, node)
    quiet_libraries()
    workspace = Workspace(config.store, runtime=config.runtime)
    report = measured(config, workspace)
    if is_main_process():
        _print(report, config)
        files = _write(report, config.folder)
        workspace.console.say(f"written: {', '.join(map(str, files))}")
    return report


def measured(config: MeasureConfig, workspace: Workspace) -> MeasureReport:
    """Every set of the config by every measure that it asks for, each computed once."""
    pool, sets = sets_of(config, workspace)
    meter = meter_of(config, workspace, pool)
    return MeasureReport(
        pool=pool.artifact.record["name"],
        pool_fingerprint=pool.fingerprint,
        pool_rows=len(pool.pool),
        encoder=_encoder_name(config),
        reference=_reference_name(config),
        settings=config.measures,
        sets=tuple(_measured_set(item, meter) for item in sets),
    )


def planned(config: MeasureConfig, workspace: Workspace) -> list[str]:
    """Pass the stages of `measured`, in a workspace that only notes them; the names of the sets."""
    pool, sets = sets_of(config, workspace)
    meter = meter_of(config, workspace, pool)
    for item in sets:
        meter.measure(item.rows)
    return [item.name for item in sets]


def meter_of(config: MeasureConfig, workspace: Workspace, pool: StoredPool) -> DiversityMeter:
    """What measures sets of the pool's rows, on the embeddings and the reference that the config names."""
    given = GivenArrays(config.arrays, pool.pool)
    embeddings = _embeddings(config, workspace, pool, given)
    reference = _reference(config, workspace, given)
    return DiversityMeter(workspace, pool, embeddings, reference, config.measures)


def _measured_set(item: NamedSet, meter: DiversityMeter) -> MeasuredSet:
    artifact = meter.measure(item.rows)
    reasons = json.loads((artifact.folder / REASONS_FILE).read_text(encoding="utf-8"))
    return MeasuredSet(item.name, len(item.rows), artifact.summary, reasons, artifact.fingerprint)


def _embeddings(config: MeasureConfig, workspace: Workspace, pool: StoredPool, given: GivenArrays) -> Vectors | None:
    if not config.reads_embeddings:
        return None
    if config.arrays.embeddings is None:
        return workspace.embeddings(pool, config.encoder)
    values = given.rows("arrays.embeddings")
    require_finite(values, f"arrays.embeddings={config.arrays.embeddings}")
    return GivenVectors(given.digests["arrays.embeddings"], values)


def _reference(config: MeasureConfig, workspace: Workspace, given: GivenArrays) -> Vectors | None:
    """None stands for the pool."""
    if not config.reads_embeddings:
        return None
    if config.arrays.reference_embeddings is not None:
        values = given.free("arrays.reference_embeddings")
        require_finite(values, f"arrays.reference_embeddings={config.arrays.reference_embeddings}")
        return GivenVectors(given.digests["arrays.reference_embeddings"], values)
    if config.reference is None:
        return None
    return workspace.embeddings(workspace.pool(config.reference), config.encoder)


def _encoder_name(config: MeasureConfig) -> str | None:
    if not config.reads_embeddings:
        return None
    return config.arrays.embeddings or config.encoder.name


def _reference_name(config: MeasureConfig) -> str | None:
    if config.arrays.reference_embeddings is not None:
        return config.arrays.reference_embeddings
    return None if config.reference is None else config.reference.name


def _write(report: MeasureReport, folder: Path) -> list[Path]:
    """measures.png, measures.md and measures.json; the last, written last, says what the others show."""
    folder.mkdir(parents=True, exist_ok=True)
    picture, table, numbers = files = [folder / f"measures.{ending}" for ending in ("png", "md", "json")]
    content = json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n"
    if not (picture.is_file() and numbers.is_file() and numbers.read_text(encoding="utf-8") == content):
        from siftune.runs.measuring.plots import measures_figure

        measures_figure(report).savefig(picture)
    table.write_text(markdown(report, picture.name), encoding="utf-8")
    write_whole(numbers, content)
    return files


def _print(report: MeasureReport, config: MeasureConfig) -> None:
    if config.format == "table":
        print_table(report, Console())
    else:
        print(markdown(report) if config.format == "markdown" else json.dumps(report.to_json(), indent=1))
