"""How W&B's runs start, go on and end; and what stays quiet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from siftune.evaluate.results import TaskResult
from siftune.runs.tracking import TrackingError

RESULT = TaskResult(name="sql_em", metric="exact_match", value=0.25, stderr=0.05, higher_is_better=True, samples=64)


def test_failure_ends_the_run_as_failed(tmp_path: Path, run_files: Any, tracker: Any) -> None:
    with pytest.raises(RuntimeError), tracker(tmp_path / "wandb"):
        raise RuntimeError("stopped")
    (file,) = run_files(tmp_path / "wandb")
    assert [record.exit_code for record in file.records("exit")] == [1]


def test_killed_run_goes_on(tmp_path: Path, run_files: Any, tracker: Any) -> None:
    """The second start writes under the same id, its history steps after those that survived SIGKILL."""
    script = """
        import os, signal, sys, time
        from pathlib import Path
        from siftune.runs.tracking import Tracker
        from siftune.runs.tracker.config import TrackingConfig
        run = Tracker(TrackingConfig(), "f00dfeed", "n", None, {}, Path(sys.argv[1]))
        for step in (1, 2, 3):
            run._log({"train/step": step, "train/loss": 3.0 - step})
        print("logged", flush=True)
        time.sleep(60)
    """
    folder = tmp_path / "wandb"
    command = [sys.executable, "-c", textwrap.dedent(script), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "logged\n"
        (first,) = run_files(folder)
        deadline = time.monotonic() + 10
        while len(first.history()) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)  # what was logged reaches the disk within a second
        os.kill(process.pid, signal.SIGKILL)
    assert [row["step"] for row in first.history()] == [0, 1, 2]
    time.sleep(1.0)  # W&B names its folders by the second
    with tracker(folder) as run:
        run._log({"train/step": 3, "train/loss": 0.0})
    second = run_files(folder)[-1]
    assert second.path != first.path
    assert [row["step"] for row in second.history()] == [3]
    assert [record.run_id for record in second.records("run")] == ["f00dfeed"]


def test_disabled_leaves_no_file_and_does_not_import_wandb(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from siftune.runs.tracking import Tracker
        from siftune.runs.tracker.config import TrackingConfig
        folder = Path(sys.argv[1])
        with Tracker(TrackingConfig(mode="disabled"), "f00d", "n", "g", {}, folder / "wandb") as run:
            run.stage("pool", "aa", 1.0, False)
            run.selection({"rows": 3, "sources_pool": {"x": 1}})
            run.artifact("subset", "s", folder, [Path("missing")], ["unknown"], {})
            run.evaluation([])
            run._log({"x": 1})
        assert "wandb" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], check=True, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_the_first_process_of_a_launch_tracks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracker: Any
) -> None:
    monkeypatch.setenv("RANK", "1")
    with tracker(tmp_path / "wandb") as run:
        run.evaluation([RESULT])
    assert list(tmp_path.iterdir()) == []


def test_online_without_account_is_refused_at_once(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from siftune.runs.tracking import Tracker, TrackingError
        from siftune.runs.tracker.config import TrackingConfig
        try:
            Tracker(TrackingConfig(mode="online"), "f00d", "n", None, {}, Path(sys.argv[1]))
        except TrackingError as error:
            print(error)
    """
    hidden = ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE", "NETRC")
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | {"HOME": str(tmp_path)}
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "wandb")]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
    )
    assert "`wandb login`" in done.stdout
    assert "tracking=offline" in done.stdout
    assert done.stderr == ""
    assert issubclass(TrackingError, ValueError)


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str], tracker: Any) -> None:
    with tracker(tmp_path / "wandb") as run:
        run.evaluation([RESULT])
    assert capfd.readouterr() == ("", "")
