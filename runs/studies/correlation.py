"""`siftune study correlation`: fine-tune a model on each of many subsets; does the more diverse one make the better?

The protocol of Yang et al. 2025 (arXiv 2502.17184). The runs are a sweep of `siftune run`, and are recorded
like any other's; what is added is done when the sweep ends, from the records: no checkpoint is read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from siftune.runs import commands
from siftune.runs.artifacts import Artifact, Stage, write_json
from siftune.runs.build import ConfigError, build
from siftune.runs.config import experiment_config
from siftune.runs.measure import meter_of
from siftune.runs.measuring.stages import REASONS_FILE
from siftune.runs.preflight import plain_node
from siftune.runs.studies.correlation_config import CorrelationStudyConfig
from siftune.runs.studies.correlation_result import Findings, Study, find, to_json
from siftune.runs.studies.correlation_tables import markdown, print_study
from siftune.runs.studies.statistics import LEAST, Resampling
from siftune.runs.studies.subsets import pool_of, read_runs, subsets_of
from siftune.runs.sweep import CompareCells
from siftune.runs.workspace import Workspace

KEY = "study"
"""The part of the config that `siftune run` does not have."""


class CorrelateCells(CompareCells):
    """Notes the record of each cell, as after any sweep; then correlates."""

    def compare(self, folders: Sequence[Path], config: DictConfig) -> None:
        """Correlate the cells that finished."""
        # The methods are the cells': what the sweep was composed with beside them is common to all.
        common = plain_node(config) | {"selection": None}
        try:
            correlate_runs(folders, build(CorrelationStudyConfig, common))
        except ValueError as error:
            # Hydra would warn of it, and end as if the study had been made.
            sys.exit(f"siftune: {error}")


def check_study_correlation(node: Mapping[str, Any]) -> None:
    """Refuse a cell that could not be run to its end, or not be measured."""
    config: CorrelationStudyConfig = build(CorrelationStudyConfig, node)
    commands.check_run(_run(node))
    measuring = config.measuring
    if measuring.reads_embeddings and measuring.arrays.embeddings is None:
        commands.check_encoder(config.encoder)


def before_study_correlation(nodes: Sequence[Mapping[str, Any]]) -> None:
    """Refuse too few cells; say in short what is to be done in them."""
    cells = [_run(node) for node in nodes]
    check_cells(cells)
    commands.before_run(cells)


def check_cells(cells: Sequence[Mapping[str, Any]]) -> None:
    """Refuse too few; by their configs as `siftune run` has them."""
    picking = sum(experiment_config(cell).selection is not None for cell in cells)
    if picking < LEAST:
        raise ConfigError(
            f"{picking} of the {len(cells)} cells pick a subset, and a study needs {LEAST} at the least (16 or more "
            "for intervals that say something): sweep with -m over selection, budget.amount or seed"
        )


def study_correlation(node: Mapping[str, Any]) -> Path:
    """One cell; returns the folder of its record."""
    return commands.run(_run(node))


def correlate_runs(folders: Sequence[Path], config: CorrelationStudyConfig) -> Artifact:
    """Measure the subsets of these runs, correlate, print and write; returns what was written."""
    commands.quiet_libraries()
    workspace = Workspace(config.store, runtime=config.runtime)
    workspace.console.title("study correlation")
    study, inputs = _measured(folders, config, workspace)
    findings = find(study)

    def write(folder: Path) -> Mapping[str, Any]:
        write_json(folder / "study.json", to_json(study, findings))
        (folder / "study.md").write_text(markdown(study, findings, _draw(study, findings, folder)), encoding="utf-8")
        return {"subsets": len(study.subsets), "measures": list(findings.order)}

    identity = {"of": config.study, "labels": [subset.label for subset in study.subsets]}
    stage = Stage(kind="study", name=config.study_name, config=identity, inputs=inputs, build=write)
    artifact = workspace.ensure(stage)
    print_study(study, findings, Console())
    workspace.console.say(f"table, figures and scatter plots: [bold]{artifact.folder}")
    return artifact


def _measured(
    folders: Sequence[Path], config: CorrelationStudyConfig, workspace: Workspace
) -> tuple[Study, dict[str, str]]:
    """The study, and the fingerprints of what it is of."""
    runs, store, settings = read_runs(folders), workspace.store.root, config.study
    subsets = subsets_of(runs, store)
    meter = meter_of(config.measuring, workspace, pool_of(runs[0], store))
    measured = [meter.measure(subset.indices) for subset in subsets]
    names = settings.tasks or tuple(runs[0].scores)
    study = Study(
        subsets=tuple(subsets),
        tasks={name: runs[0].scores[name].higher_is_better for name in names},
        values={name: _values(measured, name) for name in settings.measures.chosen},
        reasons=_reasons(measured),
        resampling=Resampling(resamples=settings.bootstrap, confidence=settings.confidence, seed=settings.seed),
    )
    inputs = {f"run {run.fingerprint}": run.fingerprint for run in runs}
    return study, inputs | {f"diversity {found.fingerprint}": found.fingerprint for found in measured}


def _values(measured: Sequence[Artifact], name: str) -> np.ndarray:
    return np.array([found.summary[name] for found in measured], dtype=np.float64)


def _reasons(measured: Sequence[Artifact]) -> dict[str, str]:
    """Measure -> why the first subset without a value of it has none."""
    found: dict[str, str] = {}
    for artifact in reversed(measured):
        found |= json.loads((artifact.folder / REASONS_FILE).read_text(encoding="utf-8"))
    return found


def _draw(study: Study, findings: Findings, folder: Path) -> list[Path]:
    from siftune.runs.studies.correlation_plots import correlations_figure, scatter_figure, within_figure

    figures = {
        "correlations": correlations_figure(study, findings),
        "scatter": scatter_figure(study, findings),
        "within": within_figure(study, findings),
    }
    drawn = {folder / f"{name}.png": figure for name, figure in figures.items() if figure is not None}
    for path, figure in drawn.items():
        figure.savefig(path)
    return list(drawn)


def _run(node: Mapping[str, Any]) -> dict[str, Any]:
    """The config of the cell as `siftune run` has it, so that a run is the same one whoever started it."""
    return {key: value for key, value in node.items() if key != KEY}
