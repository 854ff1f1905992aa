"""A plan lists what the run that follows passes: the same stages, by the same fingerprints; and computes none of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module

from siftune.runs.config import ExperimentConfig, SignalsConfig, experiment_config, select_config
from siftune.runs.experiment import run
from siftune.runs.picking import select
from siftune.runs.plan import Plan, ResourceError
from siftune.runs.planning.steps import make_plan
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.workspace import Workspace

PICKING = ["model=tiny", "budget.amount=12"]
KEYWORDS = ["tagger=keywords", "tagger.min_rows=2", "tagger.max_share=0.9"]
TRAINING = ["finetune.epochs=1", "finetune.global_batch_size=4", "evaluate.limit=4", "tracking=disabled"]


def config(store: Path, *overrides: str, command: str = "select") -> SignalsConfig:
    size = [] if "pool=file" in overrides else ["pool.size=200"]
    given = [*PICKING, *size, *(TRAINING if command == "run" else []), f"store={store}", *overrides]
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        node = plain_node(compose(command, overrides=given))
    return experiment_config(node) if command == "run" else select_config(node)


def carried_out(config: SignalsConfig) -> dict[str, str]:
    """fingerprint -> kind of every stage that the run passes."""
    workspace = Workspace(config.store)
    if isinstance(config, ExperimentConfig):
        run(config, workspace)
    else:
        select(config, workspace)
    return {fingerprint: artifact.record["kind"] for fingerprint, artifact in workspace.passed.items()}


def untagged(folder: Path) -> list[str]:
    """A pool whose rows have no tags."""
    words = ["apples", "bread", "cheese", "dates", "eggs"]
    rows = [{"prompt": f"How are {words[i % 5]} kept fresh {i}?", "completion": "In the cold."} for i in range(60)]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["pool=file", f"pool.path={folder / 'pool.jsonl'}"]


def planned(plan: Plan) -> dict[str | None, str]:
    return {step.fingerprint: step.kind for step in plan.steps}


def states(plan: Plan) -> set[str]:
    return {step.state for step in plan.steps if step.kind != "pool"}


@pytest.mark.parametrize(
    ("command", "overrides"),
    [
        ("run", ["selection=rds_plus"]),
        ("run", ["selection=none"]),
        ("run", ["selection=random", "budget=tokens", "budget.amount=3000"]),
        ("select", ["selection=ifd", "on_missing_score=exclude"]),
        ("select", ["selection=novelselect", "pool@reference=skills", "reference.size=60", "reference.seed=1"]),
        ("select", ["selection=less", "gradients.warmup_fraction=0.1", "gradients.dimension=32"]),
        ("select", ["selection=s2l"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_the_run_passes_the_stages_of_its_plan(command: str, overrides: Sequence[str], tmp_path: Path) -> None:
    asked = config(tmp_path, *overrides, command=command)
    plan = make_plan([asked])
    assert states(plan) == {"to do"}
    assert not plan.undecided
    assert planned(plan) == carried_out(asked)
    again = make_plan([asked])
    assert states(again) == {"cached"}
    assert planned(again) == planned(plan)


def test_stages_that_depend_on_what_others_find_are_left_open_until_then(tmp_path: Path) -> None:
    mig = ["selection=mig", "selection.score=null", *KEYWORDS, "encoder@tag_encoder=mean"]
    asked = config(tmp_path / "store", *untagged(tmp_path), *mig)
    plan = make_plan([asked])
    assert plan.undecided == ("tag_embeddings",)
    assert [step.fingerprint for step in plan.steps if step.kind == "subset"] == [None]
    passed = carried_out(asked)
    known = {fingerprint: kind for fingerprint, kind in planned(plan).items() if fingerprint is not None}
    assert known.items() <= passed.items()
    assert planned(make_plan([asked])) == passed


def test_tags_that_a_tagger_will_find_decide_no_other_stage(tmp_path: Path) -> None:
    asked = config(tmp_path / "store", *untagged(tmp_path), "selection=instag", *KEYWORDS)
    plan = make_plan([asked])
    assert not plan.undecided
    assert planned(plan) == carried_out(asked)


def test_a_plan_computes_nothing_but_the_pools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a plan loads no model")

    monkeypatch.setattr("siftune.finetune.model._load_model", refuse)
    monkeypatch.setattr("siftune.finetune.model_sources.RandomModel.build", refuse)
    plan = make_plan([config(tmp_path, command="run")])
    assert {path.parent.parent.name for path in tmp_path.glob("*/*/record.json")} == {"pool"}
    assert {step.state for step in plan.steps if step.kind == "pool"} == {"read now"}
    assert [step.kind for step in plan.to_do] == [
        "model",
        "embeddings",
        "embeddings",
        "embeddings",
        "subset",
        "checkpoint",
        "evaluation",
    ]


def test_the_cells_of_a_sweep_share_stages(tmp_path: Path) -> None:
    cells = [config(tmp_path, f"selection={name}", command="run") for name in ("none", "random", "rds_plus")]
    plan = make_plan(cells)
    assert plan.cells == ("base, seed 0", "random, seed 0", "rds_plus, seed 0")
    assert len({step.fingerprint for step in plan.steps}) == len(plan.steps)
    needed = {(step.kind, step.name): step.cells for step in plan.steps}
    assert needed["model", "tiny"] == (0, 1, 2)
    assert needed["pool", "skills"] == (1, 2)
    assert needed["embeddings", "skills-rds"] == (2,)
    alone = make_plan(cells[1:2])
    assert {step.fingerprint for step in alone.steps} == {step.fingerprint for step in plan.steps if 1 in step.cells}


def test_an_unfinished_stage_counts_its_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siftune.selection.features.mapping.SHARD_ROWS", 50)
    asked = config(tmp_path)
    before = {step.name: step for step in make_plan([asked]).steps}["skills-rds"]
    carried_out(asked)
    (folder,) = tmp_path.glob("embeddings/skills-rds-*")
    (folder / "record.json").unlink()
    shutil.rmtree(next(tmp_path.glob("subset/*")))
    for marker in ("00001.json", "00003.json"):
        (folder / "shards" / marker).unlink()
    steps = {step.name: step for step in make_plan([asked]).steps}
    step = steps["skills-rds"]
    assert (step.state, step.shards, step.left) == ("unfinished", (2, 4), 0.5)
    assert step.flops == before.flops / 2
    assert steps["rds_plus"].state == "to do"


def test_a_recorded_run_needs_no_checkpoint(tmp_path: Path) -> None:
    asked = config(tmp_path, "selection=random", command="run")
    carried_out(asked)
    shutil.rmtree(next(tmp_path.glob("checkpoint/*")))
    assert states(make_plan([asked])) == {"cached"}
    other = config(tmp_path, "selection=random", "group=other", command="run")
    assert [step.kind for step in make_plan([other]).to_do] == ["checkpoint"]


@pytest.mark.parametrize("space", [0, 10_000])
def test_a_disk_that_is_too_small_is_refused(space: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config(tmp_path, "selection=novelselect")
    make_plan([asked]).check()
    monkeypatch.setattr("siftune.runs.planning.steps.disk_free", lambda store: space)
    with pytest.raises(ResourceError) as refused:
        make_plan([asked]).check()
    for words in ("model tiny", "328 kB of disk", str(tmp_path), "store=FOLDER", "check_resources=false"):
        assert words in str(refused.value)


def test_stages_fill_the_disk_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The model takes 328,320 bytes and fits; the embeddings take 200 * 64 * 4 and do not fit beside it.
    monkeypatch.setattr("siftune.runs.planning.steps.disk_free", lambda store: 328_320 + 51_199)
    with pytest.raises(ResourceError, match=r"embeddings skills-rds needs about 51.2 kB of disk after 328 kB of"):
        make_plan([config(tmp_path, "selection=novelselect")]).check()
    monkeypatch.setattr("siftune.runs.planning.steps.disk_free", lambda store: 328_320 + 51_200)
    make_plan([config(tmp_path, "selection=novelselect")]).check()


def test_a_memory_that_is_too_small_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siftune.runs.planning.steps.memory_free", lambda: (2_500_000, False))
    with pytest.raises(ResourceError, match=r"checkpoint tiny-random needs about .* MB of memory and 2.50 MB are free"):
        make_plan([config(tmp_path, "selection=random", command="run")]).check()


def test_seconds_come_from_records_of_the_same_computation(tmp_path: Path) -> None:
    carried_out(config(tmp_path))
    (record,) = tmp_path.glob("embeddings/skills-rds-*/record.json")
    content = json.loads(record.read_text())
    rate = 1000.0 / content["summary"]["tokens"]
    record.write_text(json.dumps(content | {"seconds": 1000.0}))
    for path in tmp_path.glob("embeddings/*_queries-*/record.json"):
        shutil.rmtree(path.parent)
    steps = {step.name: step for step in make_plan([config(tmp_path, "pool.size=150")]).steps}
    step = steps["skills-rds"]
    assert step.basis == "recorded"
    assert step.cost.tokens is not None
    assert step.seconds == pytest.approx(rate * step.cost.tokens)
    other = {step.name: step for step in make_plan([config(tmp_path, "encoder.max_length=64", "pool.size=150")]).steps}
    assert other["skills-rds"].basis == "calibrated"
