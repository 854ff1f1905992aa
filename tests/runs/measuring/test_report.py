"""What was measured as a table, Markdown, JSON and a picture."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

from rich.console import Console

from siftune.runs.measuring.report import MeasuredSet, MeasureReport
from siftune.runs.measuring.table import markdown, print_table
from siftune.selection.diversity import MeasureSettings


def report_of(values: Mapping[str, tuple[int, float, float]]) -> MeasureReport:
    """name -> rows, facility location (less is more diverse), Vendi score."""
    sets = tuple(
        MeasuredSet(
            name,
            rows,
            {"facility_location": far, "vendi_score": vendi},
            {} if vendi == vendi else {"vendi_score": "because"},
            "f",
        )
        for name, (rows, far, vendi) in values.items()
    )
    settings = MeasureSettings(names=("facility_location", "vendi_score"))
    return MeasureReport(
        pool="made", pool_fingerprint="p", pool_rows=40, encoder="e", reference=None, settings=settings, sets=sets
    )


REPORT = {"a": (8, 1.0, 3.0), "b": (8, 2.0, 4.0), "c": (9, 0.5, float("nan"))}


def test_the_best_is_the_best_of_its_size() -> None:
    report = report_of(REPORT)
    assert report.best("facility_location", 3) == {"a"}
    assert report.best("vendi_score", 3) == {"b"}
    assert report.best("vendi_score", -1) == set()


def test_markdown_has_few_sets_beside_each_other_and_many_below() -> None:
    beside = markdown(report_of(REPORT)).splitlines()
    assert beside[4] == "| measure | a<br>8 rows | b<br>8 rows | c<br>9 rows |"
    assert beside[6] == "| Facility location ↓ | **1.000** | 2.000 | 0.500 |"
    assert beside[7] == "| Vendi score ↑ | 3.000 | **4.000** | – |"
    assert "No Vendi score of c: because." in beside
    below = markdown(report_of({**REPORT, "d": (8, 7.0, 1.0), "e": (8, 7.0, 1.0), "f": (8, 7.0, 1.0)})).splitlines()
    assert below[4] == "| set | rows | Facility location ↓ | Vendi score ↑ |"
    assert below[7] == "| b | 8 | 2.000 | **4.000** |"


def test_the_table_says_how_to_read_it() -> None:
    said = io.StringIO()
    print_table(report_of(REPORT), Console(file=said, width=100))
    assert "pool made (40 rows) · encoder e" in said.getvalue()
    assert "compare sets that have as many" in said.getvalue()
    assert "no Vendi score of c: because" in said.getvalue()


def test_json_has_null_where_a_set_has_no_value() -> None:
    found = json.loads(json.dumps(report_of(REPORT).to_json(), allow_nan=False))
    assert found["sets"][2]["values"] == {"facility_location": 0.5, "vendi_score": None}
    assert found["sets"][2]["reasons"] == {"vendi_score": "because"}
    assert found["measures"]["facility_location"]["more_is_more_diverse"] is False


def test_the_picture_has_a_panel_a_measure_and_no_point_for_what_is_missing() -> None:
    from siftune.runs.measuring.plots import measures_figure

    panels = [axis for axis in measures_figure(report_of(REPORT)).axes if axis.get_visible()]
    assert [axis.get_title().strip() for axis in panels] == ["Facility location", "Vendi score"]
    assert [len(axis.collections) for axis in panels] == [3, 2]
