"""conf/experiment/<paper>/<table>.yaml: every cell composes and builds, and every printed row has its runs."""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_module
from omegaconf import OmegaConf

from siftune.runs.build import build
from siftune.runs.config import ExperimentConfig, experiment_config
from siftune.runs.paper import HEADLINE, LABEL, Paper
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, compose_cell, plain_node
from siftune.runs.reproduction.cells import cells_in, lines_of

CONF = Path(__file__).resolve().parents[3] / "conf"
NAMES = sorted(
    path.relative_to(CONF / "experiment").with_suffix("").as_posix() for path in CONF.glob("experiment/*/*.yaml")
)
SCALES = (None, "miniature")
FEWEST = 4
"""Cells of a miniature."""

Cell = tuple[str, ...]


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        yield


@functools.cache
def paper_of(name: str) -> Paper:
    """As it stands in the YAML, which interpolates nothing."""
    node = OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / f"{name}.yaml"))
    assert isinstance(node, dict)
    paper: Paper = build(Paper, node["paper"], "paper")
    return paper


def cells(name: str, scale: str | None) -> list[Cell]:
    """The table's cells; those that differ in the seed alone are one."""
    lines = [cells_in(line) for line in lines_of(name, paper_of(name), scale, [])]
    return list(dict.fromkeys(tuple(_without_seed(cell)) for line in lines for cell in line))


def a_cell_of_each_grid(name: str, scale: str | None) -> list[Cell]:
    lines = [cells_in(line) for line in lines_of(name, paper_of(name), scale, [])]
    return [tuple(_without_seed(line[-1])) for line in lines]


def _without_seed(cell: Sequence[str]) -> list[str]:
    return [override for override in cell if not override.startswith("seed=")]


def made(cell: Cell) -> tuple[dict[str, Any], ExperimentConfig]:
    node = plain_node(compose_cell("run", cell, None))
    return node, experiment_config(node)


def table_of(paper: Paper) -> list[dict[str, str]]:
    if paper.table is None:
        return []
    with (CONF / "papers" / f"{paper.table}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if all(row[column] == value for column, value in paper.where.items())]


def at(node: Mapping[str, Any], config: ExperimentConfig, key: str) -> Any:
    if key == LABEL:
        return config.name
    found: Any = node
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def check(name: str, scale: str | None, config: ExperimentConfig) -> None:
    """What every cell has."""
    assert config.paper is not None
    assert config.group is not None, f"{name}: its runs need a group of their own"
    assert config.evaluate is not None
    if scale is None:
        known = {HEADLINE, None, *config.evaluate.tasks}
        assert set(config.paper.columns.values()) <= known, f"{name}: a column is no task of its suite"
    else:
        assert config.model.name in ("smollm2_embedded", "tiny")
        assert config.pool.name == "skills"


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_of_each_grid_composes_and_builds(name: str) -> None:
    for cell in a_cell_of_each_grid(name, None):
        check(name, None, made(cell)[1])
    check(name, "miniature", made(a_cell_of_each_grid(name, "miniature")[-1])[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", SCALES)
def test_every_cell_composes_and_builds_and_every_printed_row_has_its_runs(name: str, scale: str | None) -> None:
    paper, built = paper_of(name), [made(cell) for cell in cells(name, scale)]
    for _, config in built:
        check(name, scale, config)
    if scale is not None:
        return
    places = [{column: at(*run, axis.key) for column, axis in paper.axes.items()} for run in built]
    conditions = [[at(*run, runs.key) == runs.value for runs in paper.column_runs.values()] for run in built]
    for row in table_of(paper):
        if any(row[column] not in axis.values for column, axis in paper.axes.items()):
            continue
        place = {column: axis.values[row[column]] for column, axis in paper.axes.items()}
        own = [number for number, other in enumerate(places) if other == place]
        # A row of several runs has one for each column; a row of one run has none that is meant for a single column.
        split = sorted(column for number in own for column, met in enumerate(conditions[number]) if met)
        if split:
            assert split == list(range(len(paper.column_runs))), f"{name}: {row} has not one run a column"
        else:
            several = {override for override in cells(name, scale)[0] if override.startswith("target=")}
            assert len(own) == 1 or (own and several), f"{name}: {row} is reached by {len(own)} runs"


@pytest.mark.parametrize("name", NAMES)
def test_printed_rows_without_a_run_are_named(name: str) -> None:
    paper = paper_of(name)
    told = " ".join(paper.departures)
    for row in table_of(paper):
        without = [row[column] for column, axis in paper.axes.items() if row[column] not in axis.values]
        assert not without or any(value in told for value in without), f"{name}: nothing is said of {without}"


@pytest.mark.parametrize("name", NAMES)
def test_what_an_experiment_says_of_its_table_is_there(name: str) -> None:
    paper = paper_of(name)
    rows = table_of(paper)
    assert (paper.table is None) == (not rows), f"{name}: paper.where finds no row"
    for column in (*paper.where, *paper.miniature.where, *paper.axes, *paper.columns):
        assert column in rows[0], f"{name}: {paper.table} has no column {column}"
    for column, value in paper.miniature.where.items():
        assert value in {row[column] for row in rows}
    for column, axis in paper.axes.items():
        assert set(axis.values) <= {row[column] for row in rows}, f"{name}: {column} has values that are not printed"
    assert paper.departures, f"{name}: nothing differs from the paper?"


@pytest.mark.parametrize("name", NAMES)
def test_a_miniature_has_cells_and_seeds_of_its_own(name: str) -> None:
    paper = paper_of(name)
    lines = [cells_in(line) for line in lines_of(name, paper, "miniature", [])]
    assert sum(map(len, lines)) >= FEWEST
    assert paper.miniature.grids, f"{name}: the grids of the whole table are no miniature"
    assert paper.miniature.departures


def test_every_printed_table_has_its_experiment() -> None:
    used = {paper_of(name).table for name in NAMES}
    # Hours on one GPU: a comparison of costs, which every report has.
    assert {path.stem for path in CONF.glob("papers/*.csv")} - used == {"mig_cost_hours"}
