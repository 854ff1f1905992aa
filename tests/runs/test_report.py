"""`siftune report` from records on disk to files: what is read, averaged, compared and written."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from rich.console import Console

from siftune.runs.commands import report
from siftune.runs.main import _full_name
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.report import (
    ReportConfig,
    ReportError,
    ReportFiles,
    load_runs,
    print_table,
    read_runs,
    write_report,
)
from siftune.runs.reporting.rows import Section, improvement, sections

EM, LOSS = ("exact_match", True), ("nats_per_byte", False)
POOL = {"clean": 60, "wrong": 30, "chatter": 10}


def node(config_name: str, overrides: list[str]) -> dict[str, Any]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        return plain_node(compose(config_name, overrides=overrides))


def record(label: str, seed: int, values: Mapping[str, float], **changes: Any) -> dict[str, Any]:
    """A run record as siftune writes it; tasks ending in _loss are better when lower, the others make the headline."""
    tasks = {name: _task(name, value) for name, value in values.items()}
    scores = [name for name in values if not name.endswith("_loss")]
    trained = label != "base"
    created = changes.pop("created", "2026-11-22T01:00:00+00:00")
    summary = {
        "label": label,
        "group": "g1",
        "seed": seed,
        "model": "tiny",
        "pool": "skills",
        "targets": ["shell"],
        "budget": {"amount": 96, "unit": "examples"},
        "suite": "skills",
        "results": {
            "tasks": tasks,
            "headline": {"value": sum(values[n] for n in scores) / len(scores), "tasks": scores} if scores else None,
        },
        "selection": _selection() if trained else None,
        "training": {"steps": 2, "log": [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}]} if trained else None,
        "stages": [],
    }
    config = {"seed": seed, "model": {"name": "tiny"}, "finetune": {"epochs": 2, "batch_size": seed + 1}}
    return {
        "kind": "run",
        "name": label,
        "fingerprint": f"{label}{seed}{created[11:13]}",
        "created": created,
        "seconds": 10.0 + seed,
        "commit": "0123456789abcdef",
        "config": config | changes.pop("config", {}),
        "inputs": {"pool": changes.pop("pool_fingerprint", "aaaa")} if trained else {},
        "summary": summary | changes,
    }


def _task(name: str, value: float) -> dict[str, Any]:
    metric, higher = LOSS if name.endswith("_loss") else EM
    return {"metric": metric, "value": value, "stderr": 0.01, "higher_is_better": higher, "samples": 64, "details": {}}


def _selection() -> dict[str, Any]:
    return {
        "method": "X",
        "rows": 96,
        "tokens": 9000,
        "pool_rows": 100,
        "target_share": 0.25,
        "sources_pool": POOL,
        "sources_subset": {"clean": 90, "chatter": 6},
    }


def save(store: Path, *records: dict[str, Any]) -> Path:
    for item in records:
        folder = store / "run" / f"{item['name']}-{item['fingerprint']}"
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(item))
    return store


def compared(store: Path, *records: dict[str, Any]) -> list[Section]:
    return sections(load_runs(ReportConfig(store=save(store, *records))))


def printed(store: Path, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_table(load_runs(ReportConfig(store=store)), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def written(store: Path) -> tuple[str, ReportFiles]:
    files = write_report(load_runs(ReportConfig(store=store)), store / "report")
    assert files.markdown is not None
    return files.markdown.read_text(encoding="utf-8"), files


def many(store: Path, methods: int) -> Path:
    """`methods` methods, some with long names, on six tasks with three seeds."""
    tasks = ["a_em", "b_em", "c_em", "d_em", "e_loss", "f_loss"]
    labels = ["base", "random", *(f"method_{n}(aggregation=normalized_mean, score={n})" for n in range(methods - 2))]
    for position, label in enumerate(labels):
        for seed in range(3):
            values = {task: 0.3 + 0.01 * position + 0.002 * seed * (1 + n) for n, task in enumerate(tasks)}
            save(store, record(label, seed, values))
    return store


def test_what_picking_and_training_took_is_the_mean_over_seeds(tmp_path: Path) -> None:
    costs = [{"selection": {"flops": 1e9}, "training": {"flops": flops}} for flops in (2e9, 4e9)]
    records = [record("random", seed, {"shell_em": 0.1}, cost=cost) for seed, cost in enumerate(costs)]
    old = record("mig", 0, {"shell_em": 0.1})
    (section,) = compared(tmp_path, *records, old, record("base", 0, {"shell_em": 0.1}))
    rows = {row.name: row for row in section.rows}
    assert rows["random"].spent("flops", "selection", "training") == 4e9
    assert rows["random"].spent("seconds", "selection") is None
    assert rows["mig"].spent("flops", "selection", "training") is None, "from before costs were recorded"
    lines = printed(tmp_path).splitlines()
    assert any("random" in line and "4.00G" in line for line in lines)
    assert any("FLOPs" in line for line in lines)


def test_mean_and_sample_deviation_over_seeds(tmp_path: Path) -> None:
    records = [record("random", seed, {"shell_em": value}) for seed, value in enumerate((0.1, 0.2, 0.6))]
    (section,) = compared(tmp_path, *records)
    (row,) = section.rows
    score = row.scores["shell_em"]
    assert score.values == {0: 0.1, 1: 0.2, 2: 0.6}
    assert score.mean == pytest.approx(0.3)
    # deviations -0.2, -0.1, 0.3: squares 0.04 + 0.01 + 0.09 = 0.14, over n - 1 = 2: 0.07
    assert score.std == pytest.approx(0.07**0.5)
    assert row.seconds == pytest.approx(11.0)
    share = row.picked("target_share")
    assert share is not None
    assert share.mean == 0.25


def test_one_seed_has_no_deviation_but_a_standard_error(tmp_path: Path) -> None:
    (section,) = compared(tmp_path, record("random", 0, {"shell_em": 0.5}))
    score = section.rows[0].scores["shell_em"]
    assert (score.std, score.stderr, score.spread) == (None, 0.01, 0.01)
    assert "| random | 1 | 0.500 |" in written(tmp_path)[0]


def test_headline_is_averaged_over_seeds(tmp_path: Path) -> None:
    values = ({"a_em": 0.2, "b_em": 0.4, "c_loss": 3.0}, {"a_em": 0.4, "b_em": 0.8, "c_loss": 3.0})
    (section,) = compared(tmp_path, *(record("random", seed, value) for seed, value in enumerate(values)))
    assert [column.name for column in section.columns] == ["headline", "a_em", "b_em", "c_loss"]
    assert [column.arrow for column in section.columns] == ["↑", "↑", "↑", "↓"]
    assert section.rows[0].scores["headline"].values == pytest.approx({0: 0.3, 1: 0.6})


def test_headline_of_one_task_is_not_repeated(tmp_path: Path) -> None:
    (section,) = compared(tmp_path, record("random", 0, {"a_em": 0.2, "c_loss": 3.0}))
    assert [column.name for column in section.columns] == ["a_em", "c_loss"]


def test_best_respects_direction_and_ties(tmp_path: Path) -> None:
    scores = {"base": (0.30, 2.0), "random": (0.40, 1.5), "rds_plus": (0.4004, 1.2), "longest": (0.1, 1.9)}
    (section,) = compared(tmp_path, *(record(k, 0, {"a_em": em, "b_loss": loss}) for k, (em, loss) in scores.items()))
    em, loss = section.columns
    assert section.best(em, 3) == {"random", "rds_plus"}
    assert section.best(em, 4) == {"rds_plus"}
    assert section.best(loss, 3) == {"rds_plus"}
    assert [row.name for row in section.rows] == ["base", "random", "rds_plus", "longest"]


def test_where_all_tie_none_is_best(tmp_path: Path) -> None:
    (section,) = compared(tmp_path, *(record(label, 0, {"a_em": 0.25}) for label in ("base", "random", "rds_plus")))
    assert section.best(section.columns[0], 3) == set()


def test_improvement_is_paired_and_positive_where_better(tmp_path: Path) -> None:
    records = [record("random", seed, {"a_loss": value}) for seed, value in enumerate((2.0, 3.0))]
    records += [record("rds_plus", seed, {"a_loss": value}) for seed, value in enumerate((1.0, 1.5))]
    (section,) = compared(tmp_path, *records, record("base", 0, {"a_loss": 4.0}))
    base, random, rds = section.rows
    found = improvement(rds, random, section.columns[0])
    assert found is not None
    assert found.values == {0: 1.0, 1: 1.5}
    assert (found.mean, found.std) == (1.25, pytest.approx(0.125**0.5))
    unpaired = improvement(base, random, section.columns[0])
    assert unpaired is not None
    assert (unpaired.mean, unpaired.std) == (-1.5, None)


@pytest.mark.parametrize(
    "change",
    [{"model": "other"}, {"pool": "other"}, {"budget": {"amount": 0.1, "unit": "fraction"}}, {"suite": "other"}],
)
def test_only_like_runs_are_compared(tmp_path: Path, change: dict[str, Any]) -> None:
    a, b = record("random", 0, {"a_em": 0.5}), record("rds_plus", 0, {"a_em": 0.6}, **change)
    assert [len(section.rows) for section in compared(tmp_path, a, b)] == [1, 1]


def test_other_tasks_or_documents_are_not_compared(tmp_path: Path) -> None:
    a, b = record("random", 0, {"a_em": 0.5}), record("rds_plus", 0, {"a_em": 0.6})
    b["summary"]["results"]["tasks"]["a_em"]["samples"] = 32
    assert len(compared(tmp_path, a, b, record("longest", 0, {"b_em": 0.6}))) == 3


def test_pools_of_one_name_are_told_apart(tmp_path: Path) -> None:
    a, b = (record("random", seed, {"a_em": 0.5}, pool_fingerprint=f"{seed}bcdef0123456789") for seed in (0, 1))
    assert [section.title for section in compared(tmp_path, a, b)] == [
        "tiny · pool skills (0bcdef01) · budget 96 examples · suite skills",
        "tiny · pool skills (1bcdef01) · budget 96 examples · suite skills",
    ]


def test_base_joins_every_section_of_its_model(tmp_path: Path) -> None:
    budgets = [record("random", n, {"a_em": 0.5}, budget={"amount": 10 * n + 10, "unit": "tokens"}) for n in range(2)]
    base = record("base", 0, {"a_em": 0.4}, pool="never read", group="elsewhere")
    stranger = record("base", 1, {"a_em": 0.4}, model="other")
    found = compared(tmp_path, *budgets, base, stranger)
    assert [[row.name for row in section.rows] for section in found] == [
        ["base", "random"],
        ["base", "random"],
        ["base"],
    ]
    assert found[2].title == "other · suite skills"
    chosen = load_runs(ReportConfig(store=tmp_path, group="g1"))
    assert sorted(run.label for run in chosen if run.model == "tiny") == ["base", "random", "random"]


def test_another_config_is_another_row(tmp_path: Path) -> None:
    """Runs of one label that differ in more than the seed are never averaged."""
    records = [record("random", seed, {"a_em": 0.5}) for seed in (0, 1)]
    records.append(
        record("random", 0, {"a_em": 0.7}, config={"finetune": {"epochs": 4}}, created="2026-11-22T02:00:00")
    )
    (section,) = compared(tmp_path, *records)
    assert {row.name: len(row.runs) for row in section.rows} == {"random (epochs=2)": 2, "random (epochs=4)": 1}
    assert section.random is None  # which of the two would be the reference?


def test_many_differences_are_numbered_and_targets_named(tmp_path: Path) -> None:
    many = {"encoder": {"a": 1, "b": 2, "c": 3}}
    target = {"target": {"tasks": {"sql": {"path": "x"}}, "match": "skill"}}
    records = [
        record("rds_plus", 0, {"a_em": 0.1}),
        record("rds_plus", 1, {"a_em": 0.2}, config=many),
        record("rds_plus", 2, {"a_em": 0.3}, config=target, targets=["sql"]),
    ]
    (section,) = compared(tmp_path, *records)
    assert {row.name for row in section.rows} == {
        "rds_plus (encoder 1, target=shell)",
        "rds_plus (encoder 2, target=shell)",
        "rds_plus (encoder 3, target=sql)",
    }


def test_a_seed_that_was_run_again_counts_once(tmp_path: Path) -> None:
    old, new = (
        record("random", 0, {"a_em": v}, created=f"2026-11-22T0{h}:00:00+00:00") for v, h in ((0.1, 1), (0.9, 2))
    )
    (section,) = compared(tmp_path, old, new)
    assert section.rows[0].scores["a_em"].values == {0: 0.9}
    assert section.superseded == 1
    assert "1 older runs of the same configuration and seed are left out" in printed(tmp_path)


def test_unfinished_folders_are_passed_over_and_broken_ones_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, record("random", 0, {"a_em": 0.5}))
    (tmp_path / "run" / "unfinished-1").mkdir()
    for name, text in (("broken", "{"), ("partial", '{"summary": {}}'), ("alien", "[1]")):
        (tmp_path / "run" / name).mkdir()
        (tmp_path / "run" / name / "record.json").write_text(text)
    assert [run.label for run in load_runs(ReportConfig(store=tmp_path))] == ["random"]
    said = capsys.readouterr().err
    assert "unfinished-1" not in said
    for name in ("broken", "partial", "alien"):
        assert str(tmp_path / "run" / name / "record.json") in said


def test_no_runs(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"no finished run in the store .*siftune run"):
        load_runs(ReportConfig(store=tmp_path / "nowhere"))
    save(tmp_path, record("random", 0, {"a_em": 0.5}))
    with pytest.raises(ReportError, match=r"group=typo.*groups g1 and the labels random"):
        load_runs(ReportConfig(store=tmp_path, group="typo"))
    with pytest.raises(ReportError, match="run is unfinished"):
        read_runs([tmp_path / "run"])


def test_labels_choose(tmp_path: Path) -> None:
    save(tmp_path, *(record(label, 0, {"a_em": 0.5}) for label in ("base", "random", "rds_plus")))
    chosen = load_runs(ReportConfig(store=tmp_path, labels=("base", "rds_plus")))
    assert [run.label for run in chosen] == ["base", "rds_plus"]


def test_terminal_table(tmp_path: Path) -> None:
    save(tmp_path, *(record("random", seed, {"a_em": 0.5 + 0.1 * seed, "b_loss": 2.0}) for seed in (0, 1)))
    save(tmp_path, record("base", 0, {"a_em": 0.25, "b_loss": 12.0}))
    lines = printed(tmp_path).splitlines()
    assert lines[0] == "tiny · pool skills · budget 96 examples · suite skills"
    assert lines[1].split() == ["seeds", "a_em", "↑", "b_loss", "↓", "target", "rows", "rows", "tokens", "seconds"]
    assert lines[4].split() == ["base", "1", "0.250", "12.00", "–", "–", "–", "10"]
    assert lines[5].split() == ["random", "2", "0.550", "±", "0.071", "2.00", "±", "0.00", "25.0%", "96", "9,000", "10"]
    assert lines[6] == "mean ± sample standard deviation over seeds"


@pytest.mark.parametrize("width", [80, 100, 140])
def test_terminal_table_is_split_rather_than_squeezed(tmp_path: Path, width: int) -> None:
    lines = printed(many(tmp_path, 12), width).splitlines()
    assert max(len(line) for line in lines) <= width
    assert sum("method" in line and "(" not in line and "_" not in line.split()[0] for line in lines) > 1
    for task in ("a_em", "b_em", "c_em", "d_em", "e_loss", "f_loss", "headline"):
        assert any(f"{task} ↑" in line or f"{task} ↓" in line for line in lines)


def test_best_is_bold_in_the_terminal(tmp_path: Path) -> None:
    save(tmp_path, record("random", 0, {"b_loss": 2.0}), record("rds_plus", 0, {"b_loss": 1.0}))
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system="standard")
    print_table(load_runs(ReportConfig(store=tmp_path)), console)
    assert isinstance(console.file, io.StringIO)
    assert re.search(r"\x1b\[1m *1\.000", console.file.getvalue())
    assert not re.search(r"\x1b\[1m *2\.000", console.file.getvalue())


def test_markdown(tmp_path: Path) -> None:
    save(tmp_path, *(record("random", seed, {"a_em": 0.5, "b_loss": 2.0}) for seed in (0, 1)))
    save(tmp_path, *(record("a|b", seed, {"a_em": 0.6 + 0.1 * seed, "b_loss": 3.0}) for seed in (0, 1)))
    text, files = written(tmp_path)
    lines = text.splitlines()
    assert lines[0] == "# siftune: g1"
    assert lines[2].startswith("4 runs · 2 methods · 2 seeds · 2026-11-22 · model tiny · pool skills · suite skills")
    titles = [line for line in lines if line.startswith("## ")]
    assert titles[0] == "## Leaderboard"
    assert titles[-2:] == ["## Training", "## Provenance"]
    assert lines.index("### tiny · pool skills · budget 96 examples · suite skills") < lines.index(titles[1])
    assert any(line.startswith("| a\\|b | 2 | **0.650 ± 0.071** |") for line in lines)
    assert any(line.startswith("| random | 96 | 9,000 | 25.0% | 2 |") for line in lines)
    assert [f"![{path.stem}]({path.name})" for path in files.plots] == [line for line in lines if line.startswith("![")]


def test_files_of_several_sections(tmp_path: Path) -> None:
    save(tmp_path, record("random", 0, {"a_em": 0.5}), record("random", 1, {"a_em": 0.5}, pool="other"))
    _, files = written(tmp_path)
    names = {"scores.png", "sources.png", "training.png", "scores-2.png", "sources-2.png", "training-2.png"}
    assert names <= {path.name for path in files.plots}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files.plots)
    assert str(files).startswith(str(tmp_path / "report" / "report.md"))


def test_markdown_and_plots_can_be_left_out_and_a_page_had(tmp_path: Path) -> None:
    save(tmp_path, record("random", 0, {"a_em": 0.5}))
    config = ReportConfig(store=tmp_path, plots=False)
    assert write_report(load_runs(config), tmp_path / "a", config).plots == ()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["report.md"]
    config = ReportConfig(store=tmp_path, html=True, plots=False, markdown=False, output=tmp_path / "b")
    files = write_report(load_runs(config), config.folder, config)
    assert (files.markdown, files.page) == (None, tmp_path / "b" / "report.html")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["report.html"]
    assert 'id="provenance"' in (tmp_path / "b" / "report.html").read_text(encoding="utf-8")


def test_the_flag_is_short_for_the_setting(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "store", record("random", 0, {"a_em": 0.5}))
    name, arguments = _full_name(
        "report", ["--html", f"store={tmp_path / 'store'}", f"output={tmp_path}", "plots=false"]
    )
    assert arguments[0] == "html=true"
    report(node(name, arguments))
    assert capfd.readouterr().err == f"written: {tmp_path / 'report.html'}\nwritten: {tmp_path / 'report.md'}\n"


def test_run_without_evaluation(tmp_path: Path) -> None:
    save(tmp_path, record("random", 0, {"a_em": 0.5}, results=None))
    assert {"sources.png", "training.png"} <= {path.name for path in written(tmp_path)[1].plots}
    assert "9,000" in printed(tmp_path)
