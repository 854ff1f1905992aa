"""An experiment in W&B, offline for real: config, curves, scores, tables, charts, costs, lineage; and no secret."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from siftune.evaluate.results import TaskResult
from siftune.runs.tracker.config import REDACTED

API_KEY = "0123456789abcdef0123456789abcdef01234567"
HF_TOKEN = "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"
RESOLVED = {
    "selection": {"aggregation": "round_robin", "max_new_tokens": 64},
    "model": {"path": "hub/model", "hub_token": "abc-secret-abc", "revision": None},
    "note": f"downloaded with {HF_TOKEN}",
}
RESULT = TaskResult(name="sql_em", metric="exact_match", value=0.25, stderr=0.05, higher_is_better=True, samples=64)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, tracker: Any, run_files: Any) -> tuple[Path, Any]:
    """A whole experiment tracked offline, with secrets in the environment: W&B's folder and the run's file."""
    root = tmp_path_factory.mktemp("tracked")
    subset, adapter = root / "subset", root / "adapter"
    for file in (subset / "subset.jsonl", adapter / "weights" / "adapter.safetensors"):
        file.parent.mkdir(parents=True)
        file.write_text(f"content of {file.name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_API_KEY", API_KEY)
        patch.setenv("HF_TOKEN", HF_TOKEN)
        patch.setenv("HOME", str(root / "home"))
        with tracker(root / "wandb", RESOLVED, tags=("table2",)) as run:
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
    return root, file


def test_run_is_the_experiment(tracked: tuple[Path, Any]) -> None:
    (run,) = tracked[1].records("run")
    assert (run.run_id, run.project, run.run_group, run.job_type) == ("f00dfeed", "siftune", "sweep-1", "select+train")
    assert run.display_name == "rds_plus seed 0"
    assert list(run.tags) == ["table2"]
    assert run.resume
    assert [record.exit_code for record in tracked[1].records("exit")] == [0]


def test_config_is_the_resolved_one_without_secrets(tracked: tuple[Path, Any]) -> None:
    (run,) = tracked[1].records("run")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["selection"] == RESOLVED["selection"]
    assert config["model"] == {"path": "hub/model", "hub_token": REDACTED, "revision": None}
    assert config["note"] == f"downloaded with {REDACTED}"


def test_no_secret_is_in_any_file(tracked: tuple[Path, Any]) -> None:
    written = files_below(tracked[0] / "wandb")
    assert written
    for file in written:
        for secret in (API_KEY, HF_TOKEN, "abc-secret-abc", "k" * 9):
            assert secret.encode() not in file.read_bytes(), file


def test_everything_is_written_below_the_folder(tracked: tuple[Path, Any]) -> None:
    assert files_below(tracked[0] / "home") == []


def test_training_curve(tracked: tuple[Path, Any]) -> None:
    rows = [row for row in tracked[1].history() if "train/loss" in row]
    assert [row["train/step"] for row in rows] == [1, 2]
    assert [row["train/loss"] for row in rows] == [2.5, 2.0]
    assert rows[0]["train/learning_rate"] == 1e-4
    assert rows[0]["train/grad_norm"] == 0.5
    assert all(row["train/tokens_per_second"] > 0 for row in rows)


def test_scores_and_tables(tracked: tuple[Path, Any], tables_of: Any) -> None:
    rows = tracked[1].history()
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


def test_charts_are_wandbs_own(tracked: tuple[Path, Any], tables_of: Any) -> None:
    found = tracked[1].charts()
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


def test_summary_holds_stages_costs_and_picks(tracked: tuple[Path, Any]) -> None:
    summary = tracked[1].summary()
    assert (summary["cost/selection/flops"], summary["cost/total/seconds"]) == (4e9, 15.5)
    assert "cost/selection/energy_joules" not in summary
    assert summary["seconds/pool"] == 1.5
    assert summary["seconds/embeddings"] == 5.0  # the cached one cost nothing now
    assert summary["selection/target_share"] == 0.75
    assert summary["selection/method"] == "RDSPlus"


def test_artifacts_and_lineage(tracked: tuple[Path, Any]) -> None:
    assert tracked[1].artifacts() == [
        ("pool", "pool-skills-aaaa", True),
        ("features", "embeddings-bbbb", False),
        ("features", "embeddings-bbbb", True),
        ("subset", "subset_rds_plus", False),
        ("subset", "subset_rds_plus", True),
        ("adapter", "adapter-x", False),
    ]
    records = {record.name: record for record in tracked[1].records("artifact")}
    assert json.loads(records["adapter-x"].metadata) == {"steps": 2, "api_key": REDACTED, "inputs": ["subset_rds_plus"]}
    assert [entry.path for entry in records["adapter-x"].manifest.contents] == ["weights/adapter.safetensors"]
    assert list(records["pool-skills-aaaa"].manifest.contents) == []
    assert json.loads(records["subset_rds_plus"].metadata)["inputs"] == ["pool-skills-aaaa", "embeddings-bbbb"]


def test_input_must_be_declared_first(tmp_path: Path, tracker: Any) -> None:
    with tracker(tmp_path / "wandb") as run, pytest.raises(AssertionError, match="pool-x"):
        run.artifact("subset", "s", tmp_path, [Path("a")], ["pool-x"], {})
