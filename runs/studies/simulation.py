"""`siftune study simulation`: which measures put sets in order whose diversity is known?

After the argument of Yang et al. 2025 (arXiv 2502.17184). What the sets are: selection/measures/simulation.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from siftune.runs.artifacts import write_json
from siftune.runs.build import build
from siftune.runs.commands import check_output
from siftune.runs.config import PlanFormat
from siftune.runs.console import StageConsole
from siftune.runs.studies.simulation_result import SimulationResult
from siftune.runs.studies.simulation_table import markdown, print_table
from siftune.selection.diversity import MeasureSettings, Reference
from siftune.selection.measures.simulated_pool import SimulatedPoolSettings, SimulatedRows, make_pool
from siftune.selection.measures.simulation import SCENARIOS, SimulatedSet, make_sets


@dataclass(frozen=True, kw_only=True)
class SimulationStudyConfig:
    """What `siftune study simulation` needs."""

    pool: SimulatedPoolSettings = field(default_factory=SimulatedPoolSettings)
    """The pool that the sets are drawn from, which is the reference of the measures that need one."""
    repeats_in_reference: bool = True
    """Whether the measures' reference repeats what the pool repeats; false: as if near-duplicates had been removed."""
    rows: int = 200
    """Rows of every set, so that none is more diverse for its size."""
    levels: int = 10
    """Sets of a scenario, each more diverse than the one before it."""
    seeds: int = 5
    """How often pool and sets are drawn anew, from the seeds 0, 1, ..."""
    measures: MeasureSettings = field(default_factory=MeasureSettings)
    """Which measures, and their hyperparameters."""
    format: PlanFormat = "table"
    """A table for the terminal, Markdown, or JSON."""
    store: Path = Path("siftune-store")
    """Folder that holds the one with the results where `output` is null."""
    output: Path | None = None
    """Folder for simulation.json, simulation.md and simulation.png; null: <store>/simulation."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"seeds={self.seeds} must be at least 1")

    @property
    def folder(self) -> Path:
        """Where the results are written."""
        return self.output or self.store / "simulation"


def check_study_simulation(node: Mapping[str, Any]) -> None:
    """Refuse a config whose sets cannot be drawn, before any is measured."""
    config: SimulationStudyConfig = build(SimulationStudyConfig, node)
    check_output(config.folder)
    _drawn(config, seed=0)


def study_simulation(node: Mapping[str, Any]) -> SimulationResult:
    """Draw, measure, print and write; returns what was found."""
    config: SimulationStudyConfig = build(SimulationStudyConfig, node)
    console = StageConsole()
    result = simulate(config, console)
    files = _write(result, config.folder)
    if config.format == "table":
        print_table(result, Console())
    else:
        print(markdown(result) if config.format == "markdown" else json.dumps(result.to_json(), indent=1))
    console.say(f"written: {', '.join(map(str, files))}")
    return result


def simulate(config: SimulationStudyConfig, console: StageConsole) -> SimulationResult:
    """Every measure of every set."""
    shape = (config.seeds, config.levels)
    values = {name: {key: np.empty(shape) for key in SCENARIOS} for name in config.measures.chosen}
    amounts: dict[str, tuple[float, ...]] = {}
    with console.progress("measuring sets", config.seeds * len(SCENARIOS) * config.levels) as bar:
        for seed in range(config.seeds):
            pool, drawn = _drawn(config, seed)
            beside = pool if config.repeats_in_reference else pool.without_repeats()
            reference = Reference(beside.embeddings, config.measures)
            for scenario, sets in drawn.items():
                amounts[scenario] = tuple(one.amount for one in sets)
                for level, one in enumerate(sets):
                    for name, value in reference.measure(one.rows.embeddings, one.rows.texts).items():
                        values[name][scenario][seed, level] = value
                    bar.advance(1)
    return SimulationResult(
        pool=config.pool,
        repeats_in_reference=config.repeats_in_reference,
        rows=config.rows,
        settings=config.measures,
        amounts=amounts,
        values=values,
    )


def _drawn(config: SimulationStudyConfig, seed: int) -> tuple[SimulatedRows, dict[str, list[SimulatedSet]]]:
    rng = np.random.default_rng(seed)
    pool = make_pool(config.pool, rng)
    noise = config.pool.copy_noise
    sets = {
        scenario: make_sets(pool, scenario, rows=config.rows, levels=config.levels, copy_noise=noise, rng=rng)
        for scenario in SCENARIOS
    }
    return pool, sets


def _write(result: SimulationResult, folder: Path) -> list[Path]:
    from siftune.runs.studies.simulation_plot import simulation_figure

    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"simulation.{ending}" for ending in ("json", "md", "png")]
    write_json(files[0], result.to_json())
    files[1].write_text(markdown(result, files[2].name), encoding="utf-8")
    simulation_figure(result).savefig(files[2])
    return files
