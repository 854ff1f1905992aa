"""`siftune reproduce` as a person types it, on a table of one's own with a tiny model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from siftune.runs.reproduce import reproduce
from siftune.runs.reproduction.config import GPU, read_request
from siftune.runs.reproduction.formula import parameters

EXPERIMENT = """\
# @package _global_
defaults:
  - override /pool: file
  - override /model: tiny
  - override /selection: random
  - override /evaluate: none
  - override /tracking: disabled
pool: {path: FOLDER/rows.jsonl}
budget: {amount: 8}
finetune: {epochs: 1, max_length: 128}
paper:
  citation: "Own 2025, Table 1"
  pool_rows: 1000
  table: FOLDER/printed.csv
  axes:
    method: {key: label, values: {Random: random, Long: longest}}
  columns: {Avg: headline}
  grids:
    - {selection: "random,longest", seed: "0,1"}
    - {selection: random, budget.amount: "4,8"}
  miniature:
    overrides: ["finetune.epochs=2"]
    grids:
      - {selection: random, seed: "0,1"}
"""
ROW = '{"messages": [{"role": "user", "content": "%d?"}, {"role": "assistant", "content": "%d is the number"}]}\n'


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A folder with a config folder `conf` and what its experiment own/table reads."""
    (tmp_path / "rows.jsonl").write_text("".join(ROW % (number, number) for number in range(20)))
    (tmp_path / "printed.csv").write_text("method,Avg\nRandom,10\nLong,20\n")
    for name, text in {"experiment/own/table": EXPERIMENT, "scale/small": "# @package _global_\nseed: 7\n"}.items():
        file = tmp_path / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text.replace("FOLDER", str(tmp_path)))
    return tmp_path


def typed(table: Path, *arguments: str) -> list[str]:
    return ["own/table", "--config-dir", str(table / "conf"), *arguments, f"store={table}/store"]


def siftune(table: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "siftune.runs.main", "reproduce", *typed(table, *arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def test_the_tables_are_listed(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reproduce(["--config-dir", str(table / "conf")])
    listed = {line.split()[0]: line.split()[-3:] for line in capsys.readouterr().out.splitlines() if "/" in line[:20]}
    # Six cells, of which one is in both grids.
    assert listed["own/table"] == ["6", "2", "yes"]
    assert "mig/main" in listed


def test_the_help_of_a_table_shows_its_grids(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reproduce(typed(table, "--help"))
    assert "  experiment=own/table selection=random,longest seed=0,1\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"),
    [("own/tabel", "Did you mean own/table"), ("quickstart", "stands for no paper's table")],
)
def test_an_unknown_table_is_refused(table: Path, name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        reproduce([name, *typed(table)[1:]])


def test_a_dry_run_says_what_it_takes_and_keeps_nothing(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reproduce(typed(table, "--dry-run", "gpu.tflops=1", "gpu.mfu=0.5"))
    said = capsys.readouterr().out
    # Of the six, random at 8 rows and seed 0 is the same run in both grids.
    assert "own/table: 0 of 5 cells done, 5 to do\n" in said
    assert "GPU hours of one A100: 1 TFLOPS at 50%" in said
    commands = [line for line in said.splitlines() if line.startswith("siftune run -m ")]
    assert [line.split(" experiment=own/table ")[1] for line in commands] == [
        f"selection=random,longest seed=0,1 store={table}/store",
        f"selection=random budget.amount=4 store={table}/store",
    ]
    assert not (table / "store").exists()


def test_the_users_overrides_replace_the_grids(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reproduce(typed(table, "--miniature", "--dry-run", "-m", "scale=small", "seed=3,4,5", "finetune.epochs=1"))
    assert (
        "experiment=own/table scale=small selection=random seed=3,4,5 finetune.epochs=1 store="
        in capsys.readouterr().out
    )


def test_a_pool_that_cannot_be_read_here_is_reckoned_by_its_size(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (table / "rows.jsonl").unlink()
    reproduce(typed(table, "--dry-run", "model=llama2_7b", "budget.amount=8"))
    said = capsys.readouterr().out
    assert "own/table: 0 of 4 cells done, 4 unread\n" in said
    assert "rows.jsonl" in said
    # Four trainings of 8 rows of 2,048 tokens, one epoch, 6 operations for each of 7e9 parameters: 2.75e15.
    assert "a pool of 1,000 rows of 2,048 tokens: 2.75PFLOP" in said


def test_gpu_hours_by_hand() -> None:
    assert GPU(tflops=100, mfu=0.5).hours(3600 * 50e12) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"mfu=1\.5"):
        GPU(mfu=1.5)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("meta-llama/Llama-3.1-8B", 8e9),
        ("Qwen/Qwen2.5-1.5B", 1.5e9),
        ("intfloat/e5-mistral-7b-instruct", 7e9),
        ("EleutherAI/pythia-70m-deduped", 70e6),
        ("sentence-transformers/gtr-t5-base", None),
    ],
)
def test_parameters_by_a_models_name(name: str, size: float | None) -> None:
    assert parameters(name) == size


def test_flags_may_stand_anywhere(table: Path) -> None:
    request = read_request(["own/table", "seed=1", "--miniature", "budget.amount=4", "--dry-run"])
    assert (request.name, request.scale, request.overrides) == ("own/table", "miniature", ("seed=1", "budget.amount=4"))
    assert request.settings.dry_run


@pytest.mark.slow
def test_a_killed_table_goes_on_where_it_was(table: Path) -> None:
    process, runs = siftune(table), table / "store" / "run"
    deadline = time.monotonic() + 240
    while len(list(runs.glob("*/record.json"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    there = {path: path.stat().st_mtime_ns for path in (table / "store").glob("*/*/record.json")}
    done = len(list(runs.glob("*/record.json")))
    assert 2 <= done < 5

    # Under another group, as another experiment's: shared cells are not made again.
    code, out, err = finished(siftune(table, "group=other"))
    assert code == 0, err
    assert f"{done} of 5 cells done" in err
    assert "5 of 5 cells done; the report: " in err
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert len(list(runs.glob("*/record.json"))) == 5
    assert "Own 2025, Table 1" in out
    report = table / "store" / "reproductions" / "own" / "table"
    assert {path.name for path in report.iterdir()} >= {"report.md", "report.html"}
    assert "Paper and ours" in (report / "report.md").read_text()


@pytest.mark.slow
def test_a_cell_that_fails_does_not_stop_the_rest(table: Path) -> None:
    code, _, err = finished(siftune(table, "selection=random", "seed=0", "budget.amount=30,8", "check_resources=false"))
    assert code == 1
    assert "1 of 2 cells failed:\n  budget.amount=30:" in err
    assert "1 of 2 cells done; the report: " in err
    code, out, err = finished(siftune(table, "--report-only", "selection=random", "seed=0", "budget.amount=30,8"))
    assert code == 0, err
    assert "1 of 2 cells done; the report: " in err
    assert "Own 2025, Table 1" in out
