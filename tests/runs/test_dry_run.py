"""`--dry-run`: every command says what it would do, and the folders stay as they were."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from siftune.runs import main as command
from siftune.runs.dry_run import DRY
from siftune.runs.planning.calibration import Calibration

ROW = '{"messages": [{"role": "user", "content": "%d?"}, {"role": "assistant", "content": "%d"}]}\n'
POOL = ["model=tiny", "pool=file", "pool.path=rows.jsonl"]
Say = Callable[..., str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIFTUNE_STORE", raising=False)
    # Measuring the machine takes seconds.
    monkeypatch.setattr("siftune.runs.planning.steps.calibrate", lambda store, keep: Calibration(1e9, 1e9))
    (tmp_path / "rows.jsonl").write_text("".join(ROW % (number, number) for number in range(40)))
    return tmp_path


@pytest.fixture
def say(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Type a command, with --dry-run, and read what it says; nothing of the folder may have changed."""

    def typed(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["siftune", *arguments])
        with unchanged(here):
            command.main()
        return capsys.readouterr().out

    return typed


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    def content() -> dict[Path, tuple[int, bytes]]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before, folders = content(), {path for path in folder.rglob("*") if path.is_dir()}
    yield
    assert content() == before
    assert {path for path in folder.rglob("*") if path.is_dir()} == folders


def run_record(store: Path, label: str, seed: int) -> None:
    task = {"metric": "exact_match", "value": 0.5, "stderr": None, "higher_is_better": True, "samples": 4}
    summary = {
        **{"label": label, "group": "g", "seed": seed, "model": "tiny", "pool": "skills", "targets": []},
        **{"budget": {"amount": 8, "unit": "examples"}, "suite": "mine", "selection": None, "training": {"rows": 8}},
        "results": {"tasks": {"em": task}, "headline": None},
    }
    suite = {"tasks": {"em": {"class": "LMEvalTask", "task": "em", "num_fewshot": 0}}}
    record: dict[str, Any] = {"fingerprint": f"{label}{seed}", "created": "2026-11-22T01:00:00+00:00", "seconds": 1.0}
    record["inputs"] = {"evaluation": f"{label}{seed}"}
    evaluation = store / "evaluation" / f"mine-{label}{seed}" / "record.json"
    evaluation.parent.mkdir(parents=True)
    evaluation.write_text("{}")
    folder = store / "run" / f"{label}-{seed}"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record | {"config": {"evaluate": suite}, "summary": summary}))


def test_every_command_has_an_answer() -> None:
    named = {*command.NAMES} - {"study", command.REPRODUCE} | {f"study {name}" for name in command.STUDIES}
    # Reproduce has a flag of its own.
    assert set(DRY) == named | {"plan select"}


def test_run_and_select_print_their_plan(say: Say, here: Path) -> None:
    said = say("run", *POOL, "selection=random", "budget.amount=8", "evaluate=none", "--dry-run")
    assert "checkpoint" in said
    assert "subset" in said
    assert "write: the subset and its card to mine" in say(
        *("select", "--dry-run", *POOL, "selection=random", "budget.amount=8", "output=mine")
    )
    assert "checkpoint" in say("plan", *POOL, "selection=random", "budget.amount=8", "evaluate=none", "--dry-run")


def test_measure_prints_its_stages(say: Say) -> None:
    said = say("measure", "--dry-run", *POOL, "encoder=rds", "measures.names=[novelsum]")
    assert "embeddings" in said
    assert "diversity" in said
    assert "write: measures.png, measures.md, measures.json to " in said


def test_reports_and_comparisons_name_their_runs_and_files(say: Say, here: Path) -> None:
    for label in ("random", "rds_plus"):
        for seed in (0, 1):
            run_record(here / "store", label, seed)
    said = say("report", "store=store", "--html", "--dry-run")
    assert "compare: 4 runs of store: random, rds_plus" in said
    assert "write: report.html, report.md, pictures to store/report" in said
    said = say("compare", "--dry-run", "random", "rds_plus", "store=store")
    assert "compare: random with rds_plus, seeds 0, 1, on em" in said
    assert "write: compare.md, compare.json, flips.jsonl to store/compare" in said
    assert "nothing to leave out" in say("runs", "store=store", "--dry-run")
    assert say("runs", "store=store", "relaunch=all", "--dry-run") == ""


def test_the_simulation_is_described(say: Say) -> None:
    said = say("study", "simulation", "--dry-run", "rows=40", "levels=3", "seeds=2", "measures.names=[vendi_score]")
    assert "measure: 30 sets of 40 rows, by vendi_score" in said


def test_exports_name_what_is_written_and_sent(say: Say, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siftune.runs.export.require_token", lambda repo: None)
    (here / "mine").mkdir()
    record = '{"kind": "subset", "fingerprint": "0123"}'
    for name, text in {"subset.jsonl": "{}\n", "README.md": "", "config.json": "{}", "record.json": record}.items():
        (here / "mine" / name).write_text(text)
    said = say("export", "subset=mine", "output=out", "push=me/mine", "--dry-run")
    assert said == "write: out/dataset, from mine\nupload: dataset to me/mine (private)\n"


def test_what_the_command_refuses_is_refused(say: Say) -> None:
    with pytest.raises(SystemExit, match=r"selection=randm: there is no such option .*Did you mean random"):
        say("run", "selection=randm", "--dry-run")
