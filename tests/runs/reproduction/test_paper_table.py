"""Printed figures beside those of runs: which run is whose row, differences, gains over random, the methods' order."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from siftune.runs.paper import Axis, ColumnRun, Miniature, Paper
from siftune.runs.reporting.records import RunRecord, Score
from siftune.runs.reproduction.comparison import ComparedRow
from siftune.runs.reproduction.paper_table import PaperComparison, compare_with_paper, paper_part, print_paper

CSV = """\
model,pool,method,shell,sql,Avg
A,p,Pool,9,9,9
A,p,Random,10,20,15
A,p,Mig,30,40,35
A,p,Ifd,20,25,22.5
B,p,Random,50,60,55
B,p,Mig,55,65,60
A,q,Random,99,99,99
"""


def run(label: str, seed: int, scores: Mapping[str, float], model: str = "a", **config: Any) -> RunRecord:
    """The headline is the mean of its scores."""
    trained = label != "base"
    fields: dict[str, Any] = {
        "folder": Path("none"), "fingerprint": f"{label}{seed}", "created": f"2026-{seed}", "seconds": 1.0,
        "commit": None, "label": label, "group": None, "seed": seed, "model": model, "pool": "skills",
        "pool_fingerprint": "aaaa", "targets": (), "budget": "8 examples", "suite": "s",
        "scores": {
            name: Score(metric="em", value=value, stderr=None, higher_is_better=True, samples=9)
            for name, value in scores.items()
        },
        "headline": sum(scores.values()) / len(scores), "headline_tasks": tuple(scores),
        "selection": {"rows": 8} if trained else None, "training": {} if trained else None,
        "config": {"model": {"name": model}, **config},
    }  # fmt: skip
    return RunRecord(**fields)


@pytest.fixture
def csv(tmp_path: Path) -> str:
    (tmp_path / "printed.csv").write_text(CSV)
    return str(tmp_path / "printed.csv")


def paper(csv: str, **changes: Any) -> Paper:
    fields: dict[str, Any] = {
        "citation": "Own 2025, Table 1",
        "table": csv,
        "where": {"pool": "p"},
        "axes": {
            "model": Axis(key="model.name", values={"A": "a", "B": "b"}),
            "method": Axis(key="label", values={"Random": "random", "Mig": "mig", "Ifd": "ifd"}),
        },
        "columns": {"shell": "shell", "sql": None, "Avg": "headline"},
        "grids": ({"selection": "random,mig"},),
        "departures": ("smaller",),
    }
    return Paper(**(fields | changes))


def compared(runs: list[RunRecord], own: Paper, miniature: bool = False) -> PaperComparison:
    found = compare_with_paper(runs, own, miniature)
    assert found is not None
    return found


def row(comparison: PaperComparison, name: str, context: str = "A") -> ComparedRow:
    (found,) = [row for row in comparison.rows if (row.name, row.context) == (name, context)]
    return found


def of_two_seeds(label: str, low: float, model: str = "a") -> list[RunRecord]:
    return [run(label, seed, {"shell": low + seed / 10, "sql": 0.5}, model) for seed in (0, 1)]


def test_seeds_are_averaged_in_the_papers_units(csv: str) -> None:
    figure = row(compared(of_two_seeds("mig", 0.2), paper(csv)), "Mig").figures["shell"]
    assert figure.paper == 30
    assert figure.ours is not None
    assert figure.ours.mean == pytest.approx(25)
    assert figure.difference == pytest.approx(-5)


def test_gains_are_over_the_same_models_random(csv: str) -> None:
    runs = [*of_two_seeds("mig", 0.2), *of_two_seeds("random", 0.1), *of_two_seeds("random", 0.7, model="b")]
    comparison = compared(runs, paper(csv))
    figure = row(comparison, "Mig").figures["shell"]
    assert figure.paper_over_random == pytest.approx(20)
    assert figure.ours_over_random == pytest.approx(10)
    assert row(comparison, "Random").figures["shell"].ours_over_random is None
    other = row(comparison, "Mig", "B").figures["shell"]
    assert (other.paper_over_random, other.ours, other.ours_over_random) == (5, None, None)


def test_what_is_not_printed_and_what_is_not_run_stay_empty(csv: str) -> None:
    comparison = compared([*of_two_seeds("mig", 0.2), run("base", 0, {"shell": 0.1, "sql": 0.3})], paper(csv))
    assert row(comparison, "Ifd").figures["shell"].ours is None
    base = row(comparison, "base").figures
    assert (base["Avg"].paper, base["Avg"].difference) == (None, None)
    assert base["Avg"].ours is not None
    assert base["Avg"].ours.mean == pytest.approx(20)
    assert row(comparison, "Mig").figures["sql"].ours is None
    assert comparison.not_run == ("A, Pool",)


def test_order_of_the_methods(csv: str) -> None:
    runs = [*of_two_seeds("mig", 0.3), *of_two_seeds("random", 0.2), *of_two_seeds("ifd", 0.1)]
    found = {(item.column, item.context): item for item in compared(runs, paper(csv)).agreements}
    # The paper: mig, ifd, random; ours: mig, random, ifd. Of three ranks two are exchanged: 1 - 6 * 2 / 24.
    assert found["shell", "A"].spearman == pytest.approx(0.5)
    assert found["shell", "A"].count == 3
    assert ("shell", "B") not in found
    two = compared(runs[:4], paper(csv)).agreements
    assert {(item.count, item.spearman) for item in two} == {(2, None)}


def test_a_loss_is_not_compared_by_value_and_its_gain_turns_round(csv: str) -> None:
    runs = [run("mig", 0, {"loss": 0.75}), run("random", 0, {"loss": 0.8}), run("ifd", 0, {"loss": 0.7})]
    for own in runs:
        for name, score in own.scores.items():
            own.scores[name] = replace(score, higher_is_better=False)  # type: ignore[index]
    comparison = compared(runs, paper(csv))
    figure = row(comparison, "Mig").figures["Avg"]
    assert figure.ours is not None
    assert (figure.ours.mean, figure.difference) == (0.75, None)
    assert figure.ours_over_random == pytest.approx(0.05)
    # The paper: mig, ifd, random; ours: ifd, mig, random.
    (found,) = [item for item in comparison.agreements if item.column == "Avg"]
    assert found.spearman == pytest.approx(0.5)
    part = paper_part(comparison)
    assert [cell.text for cell in part.tables[0].rows[1][1:4]] == ["35.00", "0.7500", ""]
    assert "lower is better" in part.tables[0].caption


def test_a_miniature_is_put_beside_one_model(csv: str) -> None:
    own = paper(csv, miniature=Miniature(where={"model": "B"}, departures=("tiny",)))
    comparison = compared(of_two_seeds("mig", 0.2, model="smollm"), own, miniature=True)
    assert [row.name for row in comparison.rows] == ["Random", "Mig"]
    assert row(comparison, "Mig", "").figures["shell"].difference == pytest.approx(25 - 55)
    assert comparison.departures == ("smaller", "tiny")


def test_variants_are_not_taken_for_seeds(csv: str) -> None:
    runs = [run("mig", 0, {"shell": 0.2}, finetune={"epochs": epochs}) for epochs in (2, 3)]
    comparison = compared(runs, paper(csv))
    names = [row.name for row in comparison.rows if row.runs]
    assert names == ["Mig (epochs=2)", "Mig (epochs=3)"]


def test_a_run_of_its_own_for_each_column(csv: str) -> None:
    conditions = {
        "shell": ColumnRun(key="target.name", value="shell_queries"),
        "sql": ColumnRun(key="target.name", value="sql_queries"),
    }
    own = paper(csv, columns={"shell": "shell", "sql": "sql", "Avg": "headline"}, column_runs=conditions)
    runs = [
        run("mig", seed, {"shell": shell, "sql": sql}, target={"name": f"{name}_queries"})
        for seed in (0, 1)
        for name, shell, sql in (("shell", 0.6, 0.0), ("sql", 0.1, 0.8))
    ]
    comparison = compared([*runs, *of_two_seeds("random", 0.1)], own)
    figures = {column: figure.ours and figure.ours.mean for column, figure in row(comparison, "Mig").figures.items()}
    assert figures == {"shell": pytest.approx(60), "sql": pytest.approx(80), "Avg": pytest.approx(70)}
    # A method without a target is one run, which counts for all columns.
    plain = {column: figure.ours and figure.ours.mean for column, figure in row(comparison, "Random").figures.items()}
    assert plain == {"shell": pytest.approx(15), "sql": pytest.approx(50), "Avg": pytest.approx(32.5)}


def test_without_a_printed_headline_the_mean_of_the_columns_orders_the_methods(csv: str) -> None:
    own = paper(csv, columns={"shell": "shell", "sql": "sql"})
    comparison = compared(of_two_seeds("mig", 0.2), own)
    assert comparison.columns == ("average", "shell", "sql")
    figure = row(comparison, "Mig").figures["average"]
    assert figure.paper == pytest.approx(35)
    assert figure.ours is not None
    assert figure.ours.mean == pytest.approx(37.5)


def test_the_papers_curve_over_an_axis(tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text("k,Avg\n64,44.3\n128,43.9\nbest,50\n")
    own = paper(
        str(tmp_path / "k.csv"),
        where={},
        axes={"k": Axis(key="selection.num_clusters", values={"64": 64, "128": 128})},
        columns={"Avg": "headline"},
    )
    runs = [run("kmq", 0, {"shell": 0.5}, selection={"num_clusters": 128}), run("base", 0, {"shell": 0.1})]
    comparison = compared(runs, own)
    assert comparison.printed("selection.num_clusters") == {
        "": [(64, pytest.approx(0.443)), (128, pytest.approx(0.439))]
    }
    assert comparison.printed("budget.amount") == {}
    assert row(comparison, "128", "").figures["Avg"].difference == pytest.approx(50 - 43.9)
    assert row(comparison, "base", "").figures["Avg"].paper is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"table": "mig_mian"}, "Did you mean mig_main"), ({"where": {"pol": "p"}}, "Did you mean pool")],
    ids=["table", "column"],
)
def test_a_table_or_column_that_is_not_there_is_named(csv: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compare_with_paper(of_two_seeds("mig", 0.2), paper(csv, **changes), False)


def test_without_figures_there_is_nothing_to_compare(csv: str) -> None:
    assert compare_with_paper(of_two_seeds("mig", 0.2), None, False) is None
    assert compare_with_paper(of_two_seeds("mig", 0.2), paper(csv, table=None), False) is None


def test_the_part_has_the_headline_first_and_the_rest_on_demand(csv: str) -> None:
    part = paper_part(compared([*of_two_seeds("mig", 0.2), *of_two_seeds("random", 0.1)], paper(csv)))
    assert [(table.name, table.collapsed) for table in part.tables] == [
        ("paper-avg", False),
        ("paper-shell", True),
        ("paper-sql", True),
        ("paper-order", False),
    ]
    shell = {line[0].text: [cell.text for cell in line[1:]] for line in part.tables[1].rows}
    assert shell["Mig, A"] == ["30.00", "25.00 ± 7.07", "-5.00", "+20.00", "+10.00", "2"]
    assert shell["Ifd, A"] == ["20.00", "", "", "+10.00", "", ""]
    assert any("smaller" in text for text in part.text)
    assert any("A, Pool" in text for text in part.text)


def test_in_the_terminal_each_cell_has_all_three(csv: str) -> None:
    stream = io.StringIO()
    runs = [*of_two_seeds("mig", 0.2), *of_two_seeds("random", 0.1)]
    print_paper(compared(runs, paper(csv)), Console(file=stream, width=120))
    assert "30.0 | 25.0 | -5.0" in stream.getvalue()
    assert "20.0 | – | –" in stream.getvalue()
    assert "+20.0 | +5.0" in stream.getvalue()
