"""What the tables and pictures of a study show, and its JSON."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from siftune.runs.reporting.records import RunRecord, Score
from siftune.runs.studies.correlation_plots import correlations_figure, scatter_figure, within_figure
from siftune.runs.studies.correlation_result import Findings, Study, find, to_json
from siftune.runs.studies.correlation_tables import markdown, print_study, spell
from siftune.runs.studies.statistics import Resampling
from siftune.runs.studies.subsets import StudiedSubset


def subset(label: str, size: int, loss: float) -> StudiedSubset:
    run = RunRecord(
        folder=Path(label), fingerprint=f"{label}{size}", created="2026", seconds=1.0, commit=None, label=label,
        group=None, seed=0, model="tiny", pool="skills", pool_fingerprint="p", targets=(), budget=f"{size} examples",
        suite="s", headline=None, headline_tasks=(), selection={}, training={}, config={},
        scores={"loss": Score(metric="nats", value=loss, stderr=0.1, higher_is_better=False, samples=4)},
    )  # fmt: skip
    return StudiedSubset(indices=np.arange(size), runs=(run,))


@pytest.fixture(scope="module")
def study() -> Study:
    """Four methods in two sizes. The loss falls as NovelSum rises, and with facility location (less is more diverse);
    the Vendi score is the same for all, and one has no cluster inertia."""
    labels = [(label, size) for size in (32, 64) for label in ("a", "b", "c", "d")]
    novelsum = np.array([1.0, 2, 3, 4, 2, 3, 4, 6])
    return Study(
        subsets=tuple(subset(label, size, 9 - x) for (label, size), x in zip(labels, novelsum, strict=True)),
        tasks={"loss": False},
        values={
            "vendi_score": np.full(8, 3.0),
            "cluster_inertia": np.array([np.nan, *range(7)]),
            "facility_location": -(novelsum**2) + 90,
            "novelsum": novelsum,
        },
        reasons={"cluster_inertia": "too few rows"},
        resampling=Resampling(resamples=200, confidence=0.95, seed=0),
    )


@pytest.fixture(scope="module")
def findings(study: Study) -> Findings:
    return find(study)


def test_measures_are_turned_so_that_more_diverse_and_better_is_positive(study: Study, findings: Findings) -> None:
    novelsum, facility = (findings.over_all[name].pearson for name in ("novelsum", "facility_location"))
    assert novelsum is not None
    assert facility is not None
    assert novelsum.value == pytest.approx(1)
    assert facility.value == pytest.approx(np.corrcoef(study.values["novelsum"] ** 2, study.quality)[0, 1])
    assert findings.order == ["novelsum", "facility_location", "vendi_score", "cluster_inertia"]


def test_json_is_read_by_anything(study: Study, findings: Findings) -> None:
    found = json.loads(json.dumps(to_json(study, findings), allow_nan=False))
    assert found["subsets"][0]["measures"]["cluster_inertia"] is None
    assert found["correlations"]["cluster_inertia"]["all"]["pearson"] is None
    assert set(found["correlations"]["novelsum"]["by_size"]) == {"32 examples", "64 examples"}


def test_the_tables_say_why_there_is_a_dash(study: Study, findings: Findings) -> None:
    text = markdown(study, findings, [Path("x/scatter.png")])
    assert "| Vendi score ↑ | – | – | 8 |" in text
    assert "- Vendi score: the same for all subsets" in text
    assert "- Cluster inertia: no number for 1 of 8 subsets (too few rows)" in text
    assert "![scatter](scatter.png)" in text
    assert "| d | 64 examples | 0 |" in text
    shown = io.StringIO()
    print_study(study, findings, Console(file=shown, width=80))
    assert "Vendi score ↑" in shown.getvalue()
    assert "Within sizes" in shown.getvalue()
    assert "8 subsets of the pool skills, 8 fine-tuned models of tiny." in shown.getvalue()
    assert "nan" not in shown.getvalue()


def test_one_size_has_no_part_within_sizes(study: Study) -> None:
    one = replace(study, subsets=study.subsets[:4], values={k: v[:4] for k, v in study.values.items()})
    found = find(one)
    assert found.by_size == {}
    assert within_figure(one, found) is None
    assert "Within sizes" not in markdown(one, found, [])


def test_a_number_that_rounds_to_zero_has_no_sign(findings: Findings) -> None:
    estimate = findings.over_all["novelsum"].pearson
    assert estimate is not None
    assert spell(replace(estimate, value=-0.001, low=-0.5, high=0.25)) == "0.00 [−0.50, 0.25]"
    assert spell(replace(estimate, value=-0.5, low=math.nan, high=math.nan)) == "−0.50"


def panels(figure: Figure) -> dict[str, Any]:
    figure.draw_without_rendering()
    return {axis.get_title(): axis for axis in figure.axes if axis.get_visible()}


def test_the_scatter_plots_show_every_subset_to_the_right_the_more_diverse(study: Study, findings: Findings) -> None:
    shown = panels(scatter_figure(study, findings))
    assert list(shown) == ["NovelSum ↑", "Facility location ↓", "Vendi score ↑", "Cluster inertia ↑"]
    dots = {title: axis.collections for title, axis in shown.items()}
    assert {len(found) for found in dots.values()} == {8}
    places = [tuple(dot.get_offsets()[0]) for dot in dots["NovelSum ↑"]]
    np.testing.assert_allclose(places, np.column_stack([study.values["novelsum"], study.quality]))
    assert not shown["NovelSum ↑"].xaxis_inverted()
    assert shown["Facility location ↓"].xaxis_inverted()
    # The colour is the method's, the marker the size's.
    colours = [tuple(dot.get_facecolor()[0][:3]) for dot in dots["NovelSum ↑"]]
    assert colours[:4] == colours[4:]
    assert len(set(colours)) == 4


def test_within_sizes_a_panel_shows_standardised_values(study: Study, findings: Findings) -> None:
    figure = within_figure(study, findings)
    assert figure is not None
    places = [tuple(dot.get_offsets()[0]) for dot in panels(figure)["NovelSum ↑"].collections]
    for part in (np.array(places[:4]), np.array(places[4:])):
        np.testing.assert_allclose(part.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(part.std(axis=0), 1)


def test_a_measure_without_a_correlation_keeps_its_line_and_has_no_dot(study: Study, findings: Findings) -> None:
    figure = correlations_figure(study, findings)
    figure.draw_without_rendering()
    left = figure.axes[0]
    assert [label.get_text() for label in left.get_yticklabels()][2:] == ["Vendi score ↑", "Cluster inertia ↑"]
    lines = {
        round(float(line.get_ydata()[0]))
        for line in left.lines
        if len(line.get_ydata()) and line.get_marker() != "None"
    }
    assert lines == {0, 1}
