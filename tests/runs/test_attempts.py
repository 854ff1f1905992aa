"""What is kept of a run from its start, and what the list makes of it; nothing is computed here."""

from __future__ import annotations

import functools
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hydra import compose, initialize_config_module
from rich.console import Console

from siftune.runs.attempts import FILE, KIND, TRACEBACK, Attempt, keep_attempt, read_attempts
from siftune.runs.build import ConfigError
from siftune.runs.config import experiment_config
from siftune.runs.fingerprint import plain
from siftune.runs.listing.command import check_runs, runs
from siftune.runs.listing.config import RunsConfig
from siftune.runs.listing.stored_runs import Run, by_id, list_runs
from siftune.runs.listing.tables import differences, print_differences, print_runs
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.relaunch import print_commands, start_again, start_all_again

SETTINGS = ("model=tiny", "selection=random", "budget.amount=12")


@functools.cache
def composed() -> str:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        return json.dumps(plain_node(compose("run", overrides=[*SETTINGS])))


def started(store: Path, act: Callable[[], Path], **changes: Any) -> Path:
    """A run with these settings, whose stages are `act`; a change of a__b is one of a.b."""
    node = json.loads(composed()) | {"store": str(store)}
    for key, value in changes.items():
        *above, last = key.split("__")
        functools.reduce(lambda part, name: part[name], above, node)[last] = value
    typed = [f"{key.replace('__', '.')}={value}" for key, value in changes.items()]
    return keep_attempt(act, node, experiment_config(node), [*SETTINGS, *typed])


def failing() -> Path:
    raise RuntimeError("out of memory")


def interrupted() -> Path:
    raise KeyboardInterrupt


def recording(store: Path, fingerprint: str, label: str = "random", seed: int = 0, score: float = 0.5) -> Path:
    """The record of a run, as far as a list reads it."""
    folder = store / "run" / f"{label}-{fingerprint}"
    folder.mkdir(parents=True, exist_ok=True)
    named = {"label": label, "group": "mine", "seed": seed, "model": "tiny", "pool": "skills", "targets": []}
    results = {"tasks": {}, "headline": {"value": score, "tasks": ["em"]}}
    summary = named | {"budget": {"amount": 12, "unit": "examples"}, "results": results, "selection": None}
    record = {"fingerprint": fingerprint, "created": "2026-11-22T01:00:00+00:00", "seconds": 9.0, "inputs": {}}
    whole = record | {"config": {"seed": seed}, "summary": summary | {"training": None, "stages": []}}
    (folder / "record.json").write_text(json.dumps(whole))
    return folder


def listed(store: Path, **asked: Any) -> list[Run]:
    return list_runs(RunsConfig(store=store, **asked), lambda text: None, lambda attempt, record, folder: None)


def states(store: Path) -> list[str]:
    return [run.state for run in listed(store)]


def only(store: Path) -> tuple[Path, Attempt]:
    (item,) = read_attempts(store).items()
    return item


def test_a_failure_is_kept_with_its_trace_and_goes_on(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        started(tmp_path, failing, seed=3)
    folder, attempt = only(tmp_path)
    assert (attempt.label, attempt.seed, attempt.error) == ("random", 3, "RuntimeError: out of memory")
    assert attempt.overrides == (*SETTINGS, "seed=3")
    assert attempt.cwd == os.getcwd()
    assert "in failing" in (folder / TRACEBACK).read_text()
    (run,) = listed(tmp_path)
    assert (run.state, run.why, run.traceback) == ("failed", attempt.error, folder / TRACEBACK)


def test_what_is_kept_builds_the_same_run_again(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        started(tmp_path, failing)
    _, attempt = only(tmp_path)
    assert plain(experiment_config(attempt.node)) == attempt.config


def test_success_takes_the_failure_away(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        started(tmp_path, failing)
    started(tmp_path, lambda: recording(tmp_path, "aa11"))
    folder, attempt = only(tmp_path)
    assert (attempt.error, attempt.run) == (None, "random-aa11")
    assert [path.name for path in folder.iterdir()] == [FILE]
    (run,) = listed(tmp_path)
    assert (run.id, run.state, run.headline, run.seconds) == ("aa11", "done", 0.5, 9.0)


def test_an_interrupted_run_is_unfinished_and_no_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        started(tmp_path, interrupted)
    (run,) = listed(tmp_path)
    assert (run.state, run.why, run.traceback) == ("unfinished", None, None)


def test_a_killed_run_is_unfinished(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        started(tmp_path, interrupted)
    folder, _ = only(tmp_path)
    lock = tmp_path / "locks" / f"{KIND}-{folder.name.rpartition('-')[2]}.lock"
    hold = "import sys, time, filelock\nlock = filelock.FileLock(sys.argv[1])\nlock.acquire()\nprint(1, flush=True)"
    hold += "\ntime.sleep(99)"
    with subprocess.Popen([sys.executable, "-c", hold, str(lock)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert states(tmp_path) == ["running"]
        process.kill()
        process.wait()
        assert states(tmp_path) == ["unfinished"]


def test_a_run_is_running_while_it_runs(tmp_path: Path) -> None:
    seen = []

    def act() -> Path:
        seen.extend(states(tmp_path))
        return recording(tmp_path, "aa11")

    started(tmp_path, act)
    assert seen == ["running"]


def test_a_run_that_another_process_makes_is_kept_by_that_one(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        started(tmp_path, failing)
    folder, before = only(tmp_path)
    with FileLock(tmp_path / "locks" / f"{KIND}-{folder.name.rpartition('-')[2]}.lock"):
        assert started(tmp_path, lambda: tmp_path / "run" / "it") == tmp_path / "run" / "it"
    assert only(tmp_path) == (folder, before)


def test_other_ranks_keep_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert started(tmp_path, lambda: tmp_path) == tmp_path
    assert not (tmp_path / KIND).exists()


@pytest.mark.parametrize(
    ("change", "attempts"),
    [
        ({"seed": 1}, 2),
        ({"pool__size": 100}, 2),
        ({"label": "mine"}, 2),
        ({"finetune__micro_batch_size": 1}, 1),
        ({"tracking__mode": "disabled"}, 1),
        ({"group": "mine"}, 1),
    ],
)
def test_what_makes_another_run(tmp_path: Path, change: dict[str, Any], attempts: int) -> None:
    for changes in ({}, change):
        with pytest.raises(RuntimeError):
            started(tmp_path, failing, **changes)
    assert len(read_attempts(tmp_path)) == attempts


def test_the_same_command_takes_failures_under_an_older_config_away(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        started(tmp_path, failing)
    old, _ = only(tmp_path)
    renamed = old.with_name("random-0123456789abcdef")
    old.rename(renamed)
    with pytest.raises(RuntimeError):
        started(tmp_path, failing, seed=1)
    started(tmp_path, lambda: recording(tmp_path, "aa11"))
    assert renamed not in read_attempts(tmp_path)
    assert sorted(kept.seed for kept in read_attempts(tmp_path).values()) == [0, 1]


def test_secrets_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")

    def act() -> Path:
        raise RuntimeError("refused: hf_0123456789")

    with pytest.raises(RuntimeError):
        started(tmp_path, act)
    folder, _ = only(tmp_path)
    assert all("hf_0123456789" not in path.read_text() for path in folder.iterdir())


def test_a_record_that_a_later_one_replaced_is_not_listed(tmp_path: Path) -> None:
    started(tmp_path, lambda: recording(tmp_path, "aa11"))
    started(tmp_path, lambda: recording(tmp_path, "bb22"))
    recording(tmp_path, "cc33", label="older")
    assert only(tmp_path)[1].replaced == ("random-aa11",)
    assert {run.id for run in listed(tmp_path)} == {"bb22", "cc33"}


def test_filters(tmp_path: Path) -> None:
    recording(tmp_path, "aa11", "rds_plus", 0)
    recording(tmp_path, "bb22", "rds_plus(pooling=mean)", 1)
    with pytest.raises(RuntimeError):
        started(tmp_path, failing)

    def found(**asked: Any) -> list[str]:
        return [run.id[:4] for run in listed(tmp_path, **asked)]

    assert found(label="rds*") == found(group="mine") == found(state="done") == ["aa11", "bb22"]
    assert found(label="rds_plus") == ["aa11"]
    assert found(seed=1) == ["bb22"]
    assert found(state="failed", label="random") == found(state="failed")
    assert len(found(state="failed")) == 1
    assert found(state="running") == []


def test_stale_runs_are_told_where_it_is_asked(tmp_path: Path) -> None:
    started(tmp_path, lambda: recording(tmp_path, "aa11"))

    def found(**asked: Any) -> list[tuple[str, str | None]]:
        config = RunsConfig(store=tmp_path, **asked)
        return [(run.state, run.why) for run in list_runs(config, lambda text: None, lambda *about: "the pool")]

    assert found() == [("done", None)]
    assert found(stale=True) == found(state="stale") == found(relaunch="all") == [("stale", "the pool")]
    assert found(stale=True, state="done") == []


def test_the_list_names_what_failed_and_fits_a_terminal(tmp_path: Path) -> None:
    recording(tmp_path, "aa11bb22cc33dd44", "rds_plus(aggregation=max,pooling=mean)", 0)
    with pytest.raises(RuntimeError):
        started(tmp_path, failing)
    console = Console(file=io.StringIO(), width=80)
    print_runs(listed(tmp_path), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "group mine\n" in text
    assert "aa11bb22  done " in text
    assert "0.5000  2026-11-22 01:00" in text
    assert "random, seed 0: RuntimeError: out of memory" in text
    assert "2 runs: 1 done, 1 failed" in text
    assert max(len(line) for line in text.splitlines() if "/" not in line) <= 80


def test_differences_of_configs() -> None:
    first, second = {"seed": "0", "a": "1", "same": "x"}, {"seed": "1", "b": "2", "same": "x"}
    assert differences([first, second]) == ["seed", "a", "b"]
    assert differences([first, first]) == []


def test_configs_side_by_side(tmp_path: Path) -> None:
    for amount in (12, 24):
        with pytest.raises(RuntimeError):
            started(tmp_path, failing, budget__amount=amount, group="mine")
    console = Console(file=io.StringIO(), width=100)
    print_differences(listed(tmp_path), console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    (budget,) = [line.split() for line in lines if line.startswith("budget")]
    assert sorted(budget) == ["12.0", "24.0", "budget.amount"]
    assert len([line for line in lines if line.strip()]) == 6


def test_ids_by_their_beginning(tmp_path: Path) -> None:
    recording(tmp_path, "aa11")
    recording(tmp_path, "aa22", seed=1)
    found = listed(tmp_path)
    assert by_id(found, "aa2").seed == 1
    with pytest.raises(ConfigError, match="2 runs' id"):
        by_id(found, "aa")
    with pytest.raises(ConfigError, match="no run's id"):
        by_id(found, "b")


def test_an_id_is_shown_with_a_letter_that_keeps_it_from_being_a_number(tmp_path: Path) -> None:
    recording(tmp_path, "12345678e9a00000")
    (run,) = listed(tmp_path)
    assert run.short_id == "12345678e9a"


def test_the_beginning_of_an_id_may_look_like_a_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording(tmp_path, "12345678e9a00000")
    recording(tmp_path, "bb22", seed=1)
    runs({"store": str(tmp_path), "compare": [1234, "bb"]})
    assert "12345678e9a" in capsys.readouterr().out


def test_what_is_started_again_is_shown_first(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        started(tmp_path, failing, label="two words")
    console = Console(file=io.StringIO(), width=40)
    print_commands(listed(tmp_path), tmp_path, console)
    about, command = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert about == f"# two words, seed 0, failed: {' '.join(SETTINGS)} 'label=two words'"
    assert command == f"siftune runs store={tmp_path} relaunch={listed(tmp_path)[0].id[:8]}"


def test_a_run_is_started_again_from_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError):
        started(tmp_path / "store", failing, check_resources=False)
    moved = (tmp_path / "store").rename(tmp_path / "moved")
    calls: list[Any] = []
    monkeypatch.setattr("siftune.runs.commands.run", lambda *call: calls.append((os.getcwd(), *call)))
    monkeypatch.setattr("siftune.runs.commands.check_run", lambda node: None)
    monkeypatch.chdir("/")
    (run,) = listed(moved)
    start_again(run, moved)
    ((folder, node, overrides),) = calls
    assert folder == str(tmp_path)
    assert node["store"] == str(moved)
    assert {**node, "store": ""} == {**only(moved)[1].node, "store": ""}
    assert overrides == (*SETTINGS, "check_resources=False")


def test_runs_that_fail_again_do_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in (0, 1):
        with pytest.raises(RuntimeError):
            started(tmp_path, failing, seed=seed)
    found, calls = listed(tmp_path), []

    def call(command: list[str]) -> subprocess.CompletedProcess[str]:
        calls.append(command[-1])
        return subprocess.CompletedProcess(command, returncode=2 - len(calls))

    monkeypatch.setattr("subprocess.run", call)
    with pytest.raises(SystemExit, match="1 of 2 runs failed: random, seed 0"):
        start_all_again(found, tmp_path, Console(quiet=True))
    assert calls == [f"relaunch={run.id[:8]}" for run in found]


def test_a_run_of_an_older_siftune_cannot_be_started_again(tmp_path: Path) -> None:
    recording(tmp_path, "aa11")
    with pytest.raises(ConfigError, match="type its command"):
        start_again(listed(tmp_path)[0], tmp_path)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"compare": ["aa"]}, "two or more"),
        ({"dry_run": True}, "relaunch=failed"),
        ({"compare": ["aa", "bb"], "relaunch": "failed"}, "give one"),
        ({"state": "fialed"}, "Did you mean failed"),
        ({"stor": "x"}, "Did you mean store"),
        ({"store": "/nowhere/at/all"}, "is no folder"),
    ],
)
def test_mistakes_are_refused(asked: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        check_runs({"store": str(tmp_path)} | asked)


def test_json_is_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError):
        started(tmp_path, failing)
    runs({"store": str(tmp_path), "format": "json"})
    (run,) = json.loads(capsys.readouterr().out)
    assert run["state"] == "failed"
    assert run["overrides"] == list(SETTINGS)
    assert Path(run["traceback"]).is_file()
