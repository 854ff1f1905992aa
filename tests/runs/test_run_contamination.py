"""What a run says of test questions among its picks, and what a report makes of it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from rich.console import Console

from siftune.runs.artifacts import read_record
from siftune.runs.config import ExperimentConfig, experiment_config
from siftune.runs.experiment import run
from siftune.runs.planning.workspace import PlanningWorkspace, walk
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.reporting.contamination import beside, explained
from siftune.runs.reporting.leaderboard import leaderboard_part
from siftune.runs.reporting.records import RunRecord, read_run
from siftune.runs.reporting.rows import Section, sections
from siftune.runs.reporting.table import print_table
from siftune.runs.run_contamination import HELD_FILE
from siftune.runs.workspace import Workspace

LEAKED = "How many golden apples did Atalanta pick up while she ran the race against Hippomenes in old Boeotia?"
CLEAN = "Which river did Hercules lead through the stables of king Augeas so that they were clean by nightfall?"
QUESTIONS = [
    {"question": question, "subject": "myths", "choices": ["Three", "Two", "Four", "One"], "answer": 0}
    for question in (LEAKED, CLEAN)
]
ROWS = [
    {"prompt": f"Please answer: {LEAKED}", "completion": "Three."},
    {"prompt": "What is the sum of two and two?", "completion": "Four"},
    {"prompt": "Name a colour of the evening sky", "completion": "Red"},
]


@pytest.fixture
def config(tmp_path: Path) -> ExperimentConfig:
    """A run that trains on three rows, one of which holds one of the two questions of its benchmark."""
    for name, rows in (("rows.jsonl", ROWS), ("questions.jsonl", QUESTIONS)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "_target_": "siftune.evaluate.tasks.LMEvalTask",
        "task": "siftune_mmlu",
        "metric": "acc",
        "data_files": {"test": str(tmp_path / "questions.jsonl")},
    }
    overrides = [
        "pool=file",
        f"pool.path={tmp_path}/rows.jsonl",
        "model=tiny",
        "selection=random",
        "budget.amount=3",
        "finetune=full",
        "finetune.epochs=1",
        f"store={tmp_path}/store",
        "evaluate=heldout",
        "evaluate.tasks.heldout_loss.data.path=unused",
    ]
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        node = plain_node(compose("run", overrides=overrides))
    node["evaluate"]["tasks"] = {"myths": task}
    return experiment_config(node)


def test_a_run_counts_the_test_questions_among_its_picks(config: ExperimentConfig) -> None:
    plan = PlanningWorkspace(config.store)
    walk(config, plan)
    workspace = Workspace(config.store)
    folder = run(config, workspace)
    record = read_record(folder)
    assert record is not None
    assert record["summary"]["contamination"] == {
        "myths": {"documents": 2, "searched": 2, "contaminated": 1, "rows": 1}
    }
    assert {noted.stage.kind for noted in plan.noted.values()} == {
        artifact.record["kind"] for artifact in workspace.passed.values()
    }
    (comparison,) = [artifact for artifact in workspace.passed.values() if artifact.record["kind"] == "contamination"]
    assert json.loads((comparison.folder / HELD_FILE).read_text()) == {"myths": ["siftune_mmlu/0"]}
    assert comparison.fingerprint not in record["inputs"].values()
    said = table([read_run(folder)])
    assert "[1/2]" in said
    assert "of the task's test questions the picked rows hold" in said


def table(runs: list[RunRecord]) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_table(runs, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def finished(label: str, seed: int, held: dict[str, int] | None, **changes: Any) -> RunRecord:
    """A run on tasks a and b, which has found so many questions of each among its picks; None: it was not searched."""
    task = {"metric": "acc", "value": 0.5, "stderr": None, "higher_is_better": True, "samples": 100}
    found = {
        name: {"documents": 120, "searched": 100, "contaminated": n, "rows": n} for name, n in (held or {}).items()
    }
    summary = {
        "label": label,
        "group": None,
        "seed": seed,
        "model": "tiny",
        "pool": "p",
        "targets": [],
        "budget": {"amount": 3, "unit": "examples"},
        "results": {"tasks": {"a": task, "b": task}, "headline": {"value": 0.5, "tasks": ["a", "b"]}},
        "selection": {"rows": 3},
        "training": {},
        "contamination": found,
    } | changes
    record = {"fingerprint": f"{label}{seed}", "created": "2026", "seconds": 1.0, "inputs": {}, "config": {}}
    return parsed(record | {"summary": summary})


def parsed(record: dict[str, Any]) -> RunRecord:
    from siftune.runs.reporting.records import _parse

    return _parse(Path("run"), record)


def columns(section: Section, label: str) -> list[str]:
    (row,) = [row for row in section.rows if row.label == label]
    return [beside(row, column) for column in section.columns]


def test_a_report_tells_of_every_score_how_many_questions_were_trained_on() -> None:
    runs = [
        finished("two seeds", 0, {"a": 0, "b": 2}),
        finished("two seeds", 1, {"a": 3, "b": 2}),
        finished("clean", 0, {"a": 0, "b": 0}),
        finished("old", 0, None),
    ]
    (section,) = sections(runs)
    assert columns(section, "two seeds") == [" [2-5/200]", " [0-3/100]", " [2/100]"]
    assert columns(section, "clean") == columns(section, "old") == ["", "", ""]
    assert explained(section)[0].endswith("; runs that were not searched: 1")
    part = leaderboard_part(runs)
    assert part is not None
    assert any("[2-5/200]" in cell.text for row in part.tables[0].rows for cell in row)
    assert any("test questions the picked rows hold" in text for text in part.text)


def test_a_report_says_that_none_was_and_nothing_where_nobody_looked() -> None:
    (section,) = sections([finished("clean", 0, {"a": 0, "b": 0})])
    assert explained(section) == ["the picked rows hold no test question of a (100), b (100)"]
    (unsearched,) = sections([finished("old", 0, None)])
    assert explained(unsearched) == []
    assert "[" not in table([finished("old", 0, None)])
