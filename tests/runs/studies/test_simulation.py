"""`siftune study simulation`, in process and small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_module

from siftune.runs.build import ConfigError, build
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.studies.simulation import SimulationStudyConfig, check_study_simulation, study_simulation
from siftune.runs.studies.simulation_result import SimulationResult
from siftune.runs.studies.simulation_table import markdown
from siftune.selection.diversity import MEASURES, MeasureSettings
from siftune.selection.measures.simulated_pool import SimulatedPoolSettings
from siftune.selection.measures.simulation import SCENARIOS

SMALL = ["pool.topics=5", "pool.topic_rows=40", "pool.outliers=40", "pool.boilerplate=2", "pool.boilerplate_copies=20"]
SMALL += ["pool.dimension=16", "rows=40", "levels=4", "seeds=2", "measures.clusters=8"]


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        yield


def node(*overrides: str) -> dict[str, Any]:
    return plain_node(compose("study_simulation", overrides=[*SMALL, *overrides]))


def test_the_yaml_spells_out_every_default() -> None:
    shown = plain_node(compose("study_simulation", overrides=["store=here"]))
    assert build(SimulationStudyConfig, shown) == SimulationStudyConfig(store=Path("here"))
    assert set(shown["pool"]) == set(vars(SimulatedPoolSettings()))
    assert set(shown["measures"]) == set(vars(MeasureSettings()))


def test_it_writes_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = study_simulation(node(f"store={tmp_path}"))
    printed = capsys.readouterr().out
    for measure in MEASURES.values():
        assert measure.label in printed
    folder = tmp_path / "simulation"
    assert sorted(path.name for path in folder.iterdir()) == ["simulation.json", "simulation.md", "simulation.png"]
    written = json.loads((folder / "simulation.json").read_text())
    assert set(written["measures"]) == set(MEASURES)
    assert set(written["scenarios"]) == set(SCENARIOS)
    kept = written["measures"]["facility_location"]["scenarios"]["topics"]
    np.testing.assert_array_equal(kept["values"], result.values["facility_location"]["topics"])
    assert kept["values"][0] != kept["values"][1]
    # Less is more diverse, and ever more topics leave ever fewer rows of the pool far from all of the set.
    assert kept["spearman"] == [1.0, 1.0]
    assert kept["verdict"] == "in order"
    assert "![every measure in every scenario](simulation.png)" in (folder / "simulation.md").read_text()
    assert json.dumps(result.to_json()) == json.dumps(written)


def test_the_reference_can_have_what_the_pool_repeats_once(tmp_path: Path) -> None:
    overrides = ["measures.names=[facility_location,vendi_score]", f"output={tmp_path}"]
    repeated, once = (study_simulation(node(*overrides, f"repeats_in_reference={given}")) for given in (True, False))
    np.testing.assert_array_equal(repeated.values["vendi_score"]["topics"], once.values["vendi_score"]["topics"])
    assert (repeated.values["facility_location"]["topics"] > once.values["facility_location"]["topics"]).all()
    assert "each row of the reference once" in (tmp_path / "simulation.md").read_text()


def test_it_prints_json_alone_where_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study_simulation(node("measures.names=[ttr]", "format=json", f"output={tmp_path}"))
    assert set(json.loads(capsys.readouterr().out)["measures"]) == {"ttr"}


def test_a_measure_without_values_gets_a_dash(tmp_path: Path) -> None:
    # vocd-D samples 50 words, and these sets have 40.
    overrides = ["measures.names=[vocd_d,ttr]", "rows=20", "pool.words=2", "levels=3", f"output={tmp_path}"]
    result = study_simulation(node(*overrides))
    assert result.verdict("vocd_d", "topics") == "undefined"
    assert "| vocd-D ↑ | – | – | – | – | – | 0 of 5 |" in markdown(result)
    assert json.loads((tmp_path / "simulation.json").read_text())["measures"]["vocd_d"]["in_order"] == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["seeds=0"], "seeds=0"),
        (["rows=5"], "rows=5"),
        (["pool.outliers=9"], "outliers=9"),
        (["measures.names=[novelsm]"], "novelsum"),
        (["pool.topcis=3"], "topcis"),
    ],
)
def test_mistakes_are_refused_before_anything_is_measured(overrides: list[str], words: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=words):
        check_study_simulation(build_node(overrides))


def build_node(overrides: list[str]) -> dict[str, Any]:
    return node(*(f"+{item}" if "topcis" in item else item for item in overrides))


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([[1, 2, 3, 4], [1, 3, 5, 9]], "in order"),
        ([[1, 2, 3, 4], [1, 3, 2, 4]], "unsure"),
        ([[4, 3, 2, 1], [4, 2, 3, 1]], "opposite"),
        ([[4, 3, 2, 1], [1, 2, 3, 4]], "unsure"),
        ([[1, 2, 3, 4], [1, 2, float("nan"), 4]], "undefined"),
    ],
)
def test_a_measure_must_have_the_order_right_for_every_seed(rows: list[list[float]], verdict: str) -> None:
    result = SimulationResult(
        pool=SimulatedPoolSettings(),
        repeats_in_reference=True,
        rows=40,
        settings=MeasureSettings(),
        amounts={"topics": (1, 2, 3, 4)},
        values={"ttr": {"topics": np.array(rows, dtype=np.float64)}},
    )
    assert result.verdict("ttr", "topics") == verdict
    assert result.in_order("ttr") == (["topics"] if verdict == "in order" else [])
