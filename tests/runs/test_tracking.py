"""Tracking with W&B, offline for real: what its run file holds is read back record by record."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from siftune.evaluate.results import TaskResult
from siftune.runs.artifacts import write_json
from siftune.runs.reporting.content import Cell, Column, Part, Picture, Report, Table
from siftune.runs.reporting.records import RunRecord, Score
from siftune.runs.reporting.tracking import track_report
from siftune.runs.rounds.plots import weights_figure
from siftune.runs.rounds.report import RefinementReport, RoundReport
from siftune.runs.tracker.config import REDACTED, TrackingConfig, redact
from siftune.runs.tracking import Tracker, TrackingError

API_KEY = "0123456789abcdef0123456789abcdef01234567"
HF_TOKEN = "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"
RESOLVED = {
    "selection": {"aggregation": "round_robin", "max_new_tokens": 64},
    "model": {"path": "hub/model", "hub_token": "abc-secret-abc", "revision": None},
    "note": f"downloaded with {HF_TOKEN}",
}
RESULT = TaskResult(name="sql_em", metric="exact_match", value=0.25, stderr=0.05, higher_is_better=True, samples=64)


def run_records(file: Path) -> Iterator[Any]:
    """The records of a W&B run file: a LevelDB log (32 KiB blocks of crc, length, type) after seven bytes of header."""
    messages = import_module("wandb.proto.wandb_internal_pb2")
    data, position, message = file.read_bytes(), 7, b""
    while position < len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        message += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            record = messages.Record()
            record.ParseFromString(message)
            message = b""
            yield record


def run_files(folder: Path) -> list[Path]:
    """W&B's run files in order of time, once its process has written all of them."""
    import wandb

    wandb.teardown()
    return sorted(folder.glob("offline-run-*/*.wandb"))


def history(records: list[Any]) -> list[dict[str, Any]]:
    rows = []
    for record in records:
        if record.HasField("history"):
            items = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            rows.append(items | {"step": record.history.step.num})
    return rows


def artifacts(records: list[Any]) -> list[tuple[str, str, bool]]:
    """(type, name, used) of the artifacts declared, without W&B's own of the tables."""
    found = [record.artifact for record in records if record.HasField("artifact")]
    return [(item.type, item.name, item.use_after_commit) for item in found if item.type != "run_table"]


def summary_of(records: list[Any]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for record in records:
        if record.HasField("summary"):
            updates = record.summary.update
            summary |= {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in updates}
    return summary


def charts(records: list[Any]) -> dict[str, dict[str, Any]]:
    """Key -> W&B's own chart: what is drawn, and which columns of its table."""
    found = {}
    for record in records:
        for item in record.config.update if record.HasField("config") else ():
            if list(item.nested_key[:2]) == ["_wandb", "visualize"]:
                found[item.nested_key[2]] = json.loads(item.value_json)["panel_config"]
    return found


def tables_of(folder: Path) -> dict[str, Any]:
    """Key -> the table that was logged under it."""
    found = {}
    for file in folder.rglob("media/table/**/*.table.json"):
        key = file.relative_to(next(parent for parent in file.parents if parent.name == "table"))
        found[re.sub(r"_\d+_[0-9a-f]+\.table\.json$", "", key.as_posix())] = json.loads(file.read_text())
    return found


def tracker(folder: Path, **config: Any) -> Tracker:
    return Tracker(TrackingConfig(**config), "f00dfeed", "rds_plus seed 0", "sweep-1", RESOLVED, folder, "select+train")


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A whole experiment tracked offline, with secrets in the environment: W&B's folder and the run's records."""
    root = tmp_path_factory.mktemp("tracked")
    subset, adapter = root / "subset", root / "adapter"
    for file in (subset / "subset.jsonl", adapter / "weights" / "adapter.safetensors"):
        file.parent.mkdir(parents=True)
        file.write_text(f"content of {file.name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_API_KEY", API_KEY)
        patch.setenv("HF_TOKEN", HF_TOKEN)
        patch.setenv("HOME", str(root / "home"))
        with tracker(root / "wandb", tags=("table2",)) as run:
            run.stage("pool", "aaaa", 1.5, cached=False)
            run.artifact("pool", "pool-skills-aaaa", root, [], [], {"rows": 1200}, made=False)
            run.artifact("features", "embeddings-bbbb", root, [], ["pool-skills-aaaa"], {"rows": 1200})
            run.stage("embeddings", "bbbb", 2.0, cached=False)
            run.stage("embeddings", "cccc", 3.0, cached=False)
            run.stage("embeddings", "dddd", 9.0, cached=True, cost={"flops": 4e9, "tokens": 50, "energy_joules": None})
            run.cost({"selection": {"flops": 4e9, "energy_joules": None}, "total": {"seconds": 15.5}})
            run.selection(
                {
                    "method": "RDSPlus",
                    "target_share": 0.75,
                    "sources_pool": {"x": 8, "y": 4},
                    "sources_subset": {"x": 3},
                },
                (np.array([1, 10, 100, 10000]), np.array([10, 10])),
            )
            made_of = ["pool-skills-aaaa", "embeddings-bbbb"]
            run.artifact("subset", "subset rds/plus", subset, [Path("subset.jsonl")], made_of, {"rows": 96})
            callback = run.training_callback()
            callback.on_train_begin(None, None, None)
            for step, loss in ((1, 2.5), (2, 2.0)):
                state = SimpleNamespace(is_world_process_zero=True, global_step=step)
                logs = {"loss": loss, "learning_rate": 1e-4, "grad_norm": 0.5, "num_tokens": 100.0 * step}
                callback.on_log(None, state, None, logs=logs)
            callback.on_log(None, state, None, logs={"train_runtime": 3.0, "train_loss": 2.25})
            files = [adapter / "weights" / "adapter.safetensors"]
            run.artifact("adapter", "adapter-x", adapter, files, ["subset rds/plus"], {"steps": 2, "api_key": "k" * 9})
            run.evaluation([RESULT, replace(RESULT, name="shell_loss", value=0.5, stderr=None)])
    (file,) = run_files(root / "wandb")
    return root, list(run_records(file))


def test_run_is_the_experiment(tracked: tuple[Path, list[Any]]) -> None:
    (run,) = [record.run for record in tracked[1] if record.HasField("run")]
    assert (run.run_id, run.project, run.run_group, run.job_type) == ("f00dfeed", "siftune", "sweep-1", "select+train")
    assert run.display_name == "rds_plus seed 0"
    assert list(run.tags) == ["table2"]
    assert run.resume
    assert [record.exit.exit_code for record in tracked[1] if record.HasField("exit")] == [0]


def test_config_is_the_resolved_one_without_secrets(tracked: tuple[Path, list[Any]]) -> None:
    (run,) = [record.run for record in tracked[1] if record.HasField("run")]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["selection"] == RESOLVED["selection"]
    assert config["model"] == {"path": "hub/model", "hub_token": REDACTED, "revision": None}
    assert config["note"] == f"downloaded with {REDACTED}"


def test_no_secret_is_in_any_file(tracked: tuple[Path, list[Any]]) -> None:
    written = files_below(tracked[0] / "wandb")
    assert written
    for file in written:
        for secret in (API_KEY, HF_TOKEN, "abc-secret-abc", "k" * 9):
            assert secret.encode() not in file.read_bytes(), file


def test_everything_is_written_below_the_folder(tracked: tuple[Path, list[Any]]) -> None:
    assert files_below(tracked[0] / "home") == []


def test_training_curve(tracked: tuple[Path, list[Any]]) -> None:
    rows = [row for row in history(tracked[1]) if "train/loss" in row]
    assert [row["train/step"] for row in rows] == [1, 2]
    assert [row["train/loss"] for row in rows] == [2.5, 2.0]
    assert rows[0]["train/learning_rate"] == 1e-4
    assert rows[0]["train/grad_norm"] == 0.5
    assert all(row["train/tokens_per_second"] > 0 for row in rows)


def test_scores_and_tables(tracked: tuple[Path, list[Any]]) -> None:
    rows = history(tracked[1])
    (scores,) = [row for row in rows if "eval/sql_em" in row]
    assert (scores["eval/sql_em"], scores["eval/shell_loss"]) == (0.25, 0.5)
    tables = {key: table["data"] for key, table in tables_of(tracked[0]).items()}
    assert tables["evaluation"] == [
        ["sql_em", "exact_match", 0.25, 0.05, True, 64],
        ["shell_loss", "exact_match", 0.5, None, True, 64],
    ]
    assert tables["sources"] == [["x", 8, 3], ["y", 4, 0]]
    assert tables["stages"][-1] == ["embeddings", "dddd", 9.0, True, 4e9, None, 50, None, None, None, None]
    assert tables["stages"][0] == ["pool", "aaaa", 1.5, False, *[None] * 7]


def test_charts_are_wandbs_own(tracked: tuple[Path, list[Any]]) -> None:
    found = charts(tracked[1])
    assert {key: chart["panelDefId"] for key, chart in found.items()} == {
        "charts/scores": "wandb/bar/v0",
        "charts/sources_of_pool": "wandb/bar/v0",
        "charts/sources_of_subset": "wandb/bar/v0",
        "charts/lengths": "wandb/lineseries/v0",
    }
    assert found["charts/scores"]["fieldSettings"] == {"label": "task", "value": "score"}
    tables = {key: table["data"] for key, table in tables_of(tracked[0]).items()}
    assert tables["charts/scores_table"] == [["sql_em", 0.25], ["shell_loss", 0.5]]
    assert tables["charts/sources_of_subset_table"] == [["x", 100.0], ["y", 0.0]]
    lengths = {
        name: [line for line in tables["charts/lengths_table"] if line[1] == name] for name in ("pool", "subset")
    }
    # 40 bins over four decades, one line of the table a bin: 10 characters are the eleventh.
    assert [round(line[2]) for line in lengths["pool"] if line[2]] == [25, 25, 25, 25]
    assert [line[2] for line in lengths["subset"]].index(100.0) == 10


def test_summary_holds_stages_costs_and_picks(tracked: tuple[Path, list[Any]]) -> None:
    summary = summary_of(tracked[1])
    assert (summary["cost/selection/flops"], summary["cost/total/seconds"]) == (4e9, 15.5)
    assert "cost/selection/energy_joules" not in summary
    assert summary["seconds/pool"] == 1.5
    assert summary["seconds/embeddings"] == 5.0  # the cached one cost nothing now
    assert summary["selection/target_share"] == 0.75
    assert summary["selection/method"] == "RDSPlus"


def test_artifacts_and_lineage(tracked: tuple[Path, list[Any]]) -> None:
    assert artifacts(tracked[1]) == [
        ("pool", "pool-skills-aaaa", True),
        ("features", "embeddings-bbbb", False),
        ("features", "embeddings-bbbb", True),
        ("subset", "subset_rds_plus", False),
        ("subset", "subset_rds_plus", True),
        ("adapter", "adapter-x", False),
    ]
    records = {record.artifact.name: record.artifact for record in tracked[1] if record.HasField("artifact")}
    assert json.loads(records["adapter-x"].metadata) == {"steps": 2, "api_key": REDACTED, "inputs": ["subset_rds_plus"]}
    assert [entry.path for entry in records["adapter-x"].manifest.contents] == ["weights/adapter.safetensors"]
    assert list(records["pool-skills-aaaa"].manifest.contents) == []
    assert json.loads(records["subset_rds_plus"].metadata)["inputs"] == ["pool-skills-aaaa", "embeddings-bbbb"]


def test_refinement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines over rounds, tables of the weights and of what was dropped, the pictures: read back from W&B's files."""
    monkeypatch.setenv("HF_TOKEN", HF_TOKEN)
    report = RefinementReport(
        rounds=(
            RoundReport(
                number=1, rows=np.array([0, 2, 3]), weights=np.array([0.5, 0.5]), means=np.array([1.0, -1.0]),
                values=np.array([1.0, -1.0, np.nan]), unscored={"id3": "no reply"},
            ),
            RoundReport(number=2, rows=np.array([1]), weights=np.array([0.9, 0.1])),
        ),
        size=4, labels=np.array([0, 0, 1, 1]), names=("good", "bad"), weights=np.array([0.9, 0.1]), score="rating",
        compare="difference",
    )  # fmt: skip
    change = {
        "kind": "cluster", "name": "kind 'bad'", "size": 2, "dropped": True, "weights": [0.5, 0.1], "why": "because",
        "example": {"id": "id2", "prompt": f"say {HF_TOKEN}", "gold": "no", "reply": "yes", "value": -1.0},
    }  # fmt: skip
    lines = [change, {"kind": "row", "row": "id3", "round": 1, "why": "no reply"}]
    files = tmp_path / "refinement"
    files.mkdir()
    (files / "dropped.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    figure = weights_figure(report)
    assert figure is not None
    figure.savefig(files / "weights.png")
    with tracker(tmp_path / "wandb") as run:
        run.refinement(report, files)
    (file,) = run_files(tmp_path / "wandb")
    first, second, last = history(list(run_records(file)))
    assert (first["refinement/weight/good"], second["refinement/weight/good"]) == (0.5, 0.9)
    assert (first["refinement/mean_S"], first["refinement/unscored"]) == (0.0, 1)
    assert "refinement/mean_S" not in second
    assert [row["refinement/round"] for row in (first, second, last)] == [1, 2, 2]
    tables = {
        file.name.split("_")[0]: json.loads(file.read_text())
        for file in (tmp_path / "wandb").rglob("media/table/refinement/*.table.json")
    }
    assert tables["clusters"]["data"] == [
        [1, "good", 2, 0.5, 1, 1, 1.0], [1, "bad", 2, 0.5, 2, 1, -1.0],
        [2, "good", 2, 0.9, 1, 0, None], [2, "bad", 2, 0.1, 0, 0, None],
    ]  # fmt: skip
    assert tables["dropped"]["data"] == [
        ["kind 'bad'", 2, True, 0.5, 0.1, "because", "id2", f"say {REDACTED}", "no", "yes", -1.0]
    ]
    assert tables["unscored"]["data"] == [["id3", 1, "no reply"]]
    (picture,) = (tmp_path / "wandb").rglob("media/images/refinement/*.png")
    assert picture.read_bytes() == (files / "weights.png").read_bytes()
    assert last["refinement/weights_picture/_type"] == "image-file"


def run_record(label: str, seed: int, value: float, store: Path) -> RunRecord:
    cost = {phase: {"flops": 1e9, "seconds": 3.0} for phase in ("selection", "training")}
    return RunRecord(
        folder=store / "run" / f"{label}-{seed}", fingerprint=f"{label}{seed}", created="2026-01-01", seconds=9.0,
        commit=None, label=label, group="g", seed=seed, model="m", pool="p", pool_fingerprint="aa", targets=(),
        budget="12 examples", suite="s",
        scores={"em": Score(metric="exact_match", value=value, stderr=None, higher_is_better=True, samples=4)},
        headline=None, headline_tasks=(), selection={"method": label}, training={}, config={},
        evaluation=f"e{label}{seed}", cost=cost,
    )  # fmt: skip


def test_a_report_is_a_run_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables as they are read and as numbers, figures, charts, and the files as an artifact made of evaluations."""
    monkeypatch.setenv("HF_TOKEN", HF_TOKEN)
    store, page = tmp_path / "store", tmp_path / "report" / "report.md"
    page.parent.mkdir()
    page.write_text("# Report")
    runs = [run_record("random", 0, 0.25, store), run_record("mig", 0, 0.5, store), run_record("mig", 1, 0.75, store)]
    for run in runs:
        record = {"kind": "evaluation", "name": f"s-{run.label}", "fingerprint": run.evaluation}
        write_json(store / "evaluation" / f"s-{run.label}-{run.evaluation}" / "record.json", record)
        write_json(store / "evaluation" / f"s-{run.label}-{run.evaluation}" / "tasks" / "em.json", {})
    shown = Table(
        name="scores",
        columns=(Column(header="method", numeric=False), Column(header="em", detail="exact_match"), Column(header="n")),
        rows=(
            (Cell(text="mig", value="mig"), Cell(text="0.62 ± 0.18", value=0.625, best=True), Cell(text="2", value=2)),
            (Cell(text=f"random {HF_TOKEN}"), Cell(text="0.25", value=0.25), Cell(text="–")),
        ),
    )
    figure = Figure()
    figure.subplots().plot([1, 2])
    picture = Picture(name="curve", figure=figure, caption="It rises.")
    part = Part(name="leaderboard", title="Leaderboard", text=("MIG wins.",), tables=(shown,), pictures=(picture,))
    name = track_report(Report(title="siftune: g", parts=(part,)), runs, [page], TrackingConfig(), store)
    (file,) = run_files(store / "wandb")
    records = list(run_records(file))
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.run_id, run.job_type, run.run_group, run.display_name) == (name, "report", "g", "siftune: g")
    tables = tables_of(store)
    assert tables["leaderboard/scores"]["columns"] == ["method", "em (exact_match)", "em (exact_match), number", "n"]
    assert tables["leaderboard/scores"]["data"] == [
        ["mig", "0.62 ± 0.18", 0.625, 2],
        [f"random {REDACTED}", "0.25", 0.25, None],
    ]
    assert tables["leaderboard/text"]["data"] == [["MIG wins."]]
    assert tables["charts/scores_table"]["data"] == [["random", 0.25], ["mig", 0.625]]
    assert sorted(tables["charts/score-against-flops_table"]["data"]) == [
        ["mig", 0, 0.5, 2e9, 6.0],
        ["mig", 1, 0.75, 2e9, 6.0],
        ["random", 0, 0.25, 2e9, 6.0],
    ]
    assert charts(records)["charts/score-against-flops"]["fieldSettings"] == {"x": "FLOPs", "y": "score"}
    (image,) = store.rglob("media/images/leaderboard/*.png")
    assert image.stat().st_size > 1000
    assert artifacts(records) == [
        *(("evaluation", f"evaluation-s-{run.label}-{run.evaluation}", True) for run in runs),
        ("report", f"report-{name}", False),
    ]


def test_input_must_be_declared_first(tmp_path: Path) -> None:
    with tracker(tmp_path / "wandb") as run, pytest.raises(AssertionError, match="pool-x"):
        run.artifact("subset", "s", tmp_path, [Path("a")], ["pool-x"], {})


def test_failure_ends_the_run_as_failed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), tracker(tmp_path / "wandb"):
        raise RuntimeError("stopped")
    (file,) = run_files(tmp_path / "wandb")
    assert [record.exit.exit_code for record in run_records(file) if record.HasField("exit")] == [1]


def test_killed_run_goes_on(tmp_path: Path) -> None:
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
        while len(history(list(run_records(first)))) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)  # what was logged reaches the disk within a second
        os.kill(process.pid, signal.SIGKILL)
    assert [row["step"] for row in history(list(run_records(first)))] == [0, 1, 2]
    time.sleep(1.0)  # W&B names its folders by the second
    with tracker(folder) as run:
        run._log({"train/step": 3, "train/loss": 0.0})
    second = run_files(folder)[-1]
    assert second != first
    records = list(run_records(second))
    assert [row["step"] for row in history(records)] == [3]
    assert [record.run.run_id for record in records if record.HasField("run")] == ["f00dfeed"]


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


def test_only_the_first_process_of_a_launch_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with tracker(tmp_path / "wandb") as run:
        run.evaluation([RESULT])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("key", "hidden"),
    [
        ("token", True), ("hf_token", True), ("api_key", True), ("WANDB_API_KEY", True), ("client-secret", True),
        ("db_password", True), ("max_new_tokens", False), ("tokens_per_batch", False), ("tokenizer", False),
        ("key", False),
    ],
)  # fmt: skip
def test_redacted_keys(key: str, hidden: bool) -> None:
    assert redact({"a": [{key: "value"}]}, secrets=()) == {"a": [{key: REDACTED if hidden else "value"}]}


def test_unset_secret_stays_visible() -> None:
    assert redact({"token": None, "use_token": False}, secrets=()) == {"token": None, "use_token": False}


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"mode": "on"}, "tracking.mode"), ({"project": "a/b"}, "tracking.project"), ({"tags": ("",)}, "tracking.tags")],
)
def test_config_is_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        TrackingConfig(**fields)


@pytest.mark.parametrize("mode", ["offline", "online", "disabled"])
def test_yaml(repository: Path, mode: str) -> None:
    import yaml

    values = yaml.safe_load((repository / "conf" / "tracking" / f"{mode}.yaml").read_text())
    assert TrackingConfig(**values | {"tags": tuple(values["tags"])}) == TrackingConfig(mode=mode)
    assert set(values) == set(TrackingConfig.__dataclass_fields__)
