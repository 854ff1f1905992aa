"""LESS and S2L from the command's config to the picks: what is computed, found again, resumed and refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_module

from siftune.runs.build import ConfigError
from siftune.runs.config import select_config
from siftune.runs.picking import Subset, select
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.workspace import Workspace
from siftune.selection.features.training.row_gradients import OpenGradients

SIZE = 40
LESS = [
    "selection=less",
    "gradients.warmup.epochs=2",
    "gradients.warmup.learning_rate=2e-3",
    "gradients.warmup.global_batch_size=4",
    "gradients.warmup.lora.rank=4",
    "gradients.warmup_fraction=0.3",
    "gradients.dimension=4096",
    "gradients.max_length=128",
]
S2L = [
    "selection=s2l",
    "selection.num_clusters=2",
    "trajectories.checkpoints=3",
    "trajectories.training.learning_rate=3e-3",
    "trajectories.training.global_batch_size=8",
    "trajectories.max_length=128",
]


def node(overrides: list[str]) -> Mapping[str, Any]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        return plain_node(compose("select", overrides=overrides))


def picked(store: Path, *overrides: str) -> Subset:
    # float32: the batches that a resumed run has are the same, other batches would differ in the last digits.
    given = ["model=tiny", "model.dtype=float32", f"store={store}", *overrides]
    return select(select_config(node(given)), Workspace(store))


def _line(prompt: str, response: str, **columns: Any) -> str:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    return json.dumps({"messages": turns, **columns})


def _numbers(number: int) -> str:
    return _line(f"count from {number}", " ".join(str(number + i) for i in range(8)), kind="numbers")


def _words(number: int) -> str:
    return _line(f"say it {number} times", "water and people " * (2 + number % 3), kind="words")


@pytest.fixture
def pool(tmp_path: Path) -> list[str]:
    """Overrides for a pool of numbers and words in turn, with numbers as the target."""
    lines = [(_numbers if number % 2 else _words)(number) for number in range(SIZE)]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines), encoding="utf-8")
    queries = [_numbers(100 + number) for number in range(4)]
    (tmp_path / "queries.jsonl").write_text("\n".join(queries), encoding="utf-8")
    target = ["target=queries", f"target.tasks.target.path={tmp_path / 'queries.jsonl'}"]
    return ["pool=file", f"pool.path={tmp_path / 'pool.jsonl'}", "budget.amount=12", *target]


def computed(store: Path, kind: str) -> list[Path]:
    return sorted(path.parent for path in store.glob(f"{kind}/*/record.json"))


def test_less_picks_the_rows_that_are_like_the_target(pool: list[str], tmp_path: Path) -> None:
    subset = picked(tmp_path / "store", *pool, *LESS)
    assert (subset.indices % 2).tolist() == [1] * 12
    # Two checkpoints of the pool, two of the queries, one warm-up.
    assert len(computed(tmp_path / "store", "gradients")) == 4
    (warm,) = computed(tmp_path / "store", "warmup")
    rates = np.load(warm / "learning_rates.npy")
    assert rates[0] > rates[1] > 0


def test_gradients_are_made_once(pool: list[str], tmp_path: Path) -> None:
    store = tmp_path / "store"
    picked(store, *pool, *LESS)
    before = {path: path.stat().st_mtime_ns for path in store.glob("gradients/*/*")}
    other = ["selection.query_reduction=mean_cosine", "seed=1", "gradients.tokens_per_batch=100"]
    picked(store, *pool, *LESS, *other)
    assert {path: path.stat().st_mtime_ns for path in store.glob("gradients/*/*")} == before
    picked(store, *pool, *LESS, "gradients.preconditioner=authors")
    # Queries have plain gradients either way.
    assert len(computed(store, "gradients")) == 6
    assert len(computed(store, "warmup")) == 1


def test_gradients_that_a_kill_cut_short_are_continued(
    pool: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siftune.selection.features.mapping.SHARD_ROWS", 7)
    whole = picked(tmp_path / "whole", *pool, *LESS)
    compute, calls = OpenGradients.compute, []

    def killed(self: OpenGradients, *given: Any) -> Any:
        calls.append(given)
        if len(calls) in (4, 10):
            raise KeyboardInterrupt
        return compute(self, *given)

    monkeypatch.setattr(OpenGradients, "compute", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            picked(tmp_path / "killed", *pool, *LESS)
    resumed = picked(tmp_path / "killed", *pool, *LESS)
    assert resumed.indices.tolist() == whole.indices.tolist()
    # Six shards of the pool and one of the queries, at two checkpoints; the two that were stopped are done again.
    assert len(calls) == 2 * (6 + 1) + 2
    one, other = (computed(tmp_path / store, "gradients") for store in ("whole", "killed"))
    for left, right in zip(one, other, strict=True):
        assert left.name == right.name
        assert (left / "gradients.npy").read_bytes() == (right / "gradients.npy").read_bytes()


def test_rows_without_a_response_stop_or_are_left_out(pool: list[str], tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + "\n" + _line("why? " * 300, "because"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"1 of 41 rows have no gradients .* on_missing_score=exclude"):
        picked(tmp_path / "store", *pool, *LESS)
    subset = picked(tmp_path / "store", *pool, *LESS, "on_missing_score=exclude", "budget.amount=40")
    assert sorted(subset.indices.tolist()) == list(range(40))
    with pytest.raises(ConfigError, match=r"1 of 41 rows have no trajectories"):
        picked(tmp_path / "store", *pool, *S2L)
    subset = picked(tmp_path / "store", *pool, *S2L, "on_missing_score=exclude", "budget.amount=40")
    assert sorted(subset.indices.tolist()) == list(range(40))


def test_a_query_without_a_response_is_named(pool: list[str], tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text(_line("why? " * 300, "because"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"1 query rows of the target 'target' have no gradient"):
        picked(tmp_path / "store", *pool, *LESS)


def test_s2l_draws_from_both_kinds_of_trajectories(pool: list[str], tmp_path: Path) -> None:
    store = tmp_path / "store"
    subset = picked(store, *pool, *S2L)
    (folder,) = computed(store, "trajectories")
    losses = np.load(folder / "trajectories.npy")
    assert losses.shape == (SIZE, 3)
    assert losses.dtype == np.float32
    # Training on the pool lowers every row's loss.
    assert (losses[:, -1] < losses[:, 0]).all()
    assert 0 < (subset.indices % 2).sum() < 12
    # Models of checkpoints are gone.
    assert sorted(path.name for path in folder.iterdir()) == [
        "reasons.jsonl",
        "record.json",
        "summary.json",
        "trajectories.npy",
    ]


def test_trajectories_that_a_kill_cut_short_are_continued(
    pool: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siftune.selection.features.training import trajectory_losses

    whole = picked(tmp_path / "whole", *pool, *S2L)
    score, calls = trajectory_losses.score, []

    def killed(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return score(*given)

    monkeypatch.setattr(trajectory_losses, "score", killed)
    with pytest.raises(KeyboardInterrupt):
        picked(tmp_path / "killed", *pool, *S2L)
    monkeypatch.setattr(
        "siftune.selection.features.training.warmup.finetune", lambda *given: pytest.fail("trained again")
    )
    resumed = picked(tmp_path / "killed", *pool, *S2L)
    assert resumed.indices.tolist() == whole.indices.tolist()
    (one,), (other,) = (computed(tmp_path / store, "trajectories") for store in ("whole", "killed"))
    assert (one / "trajectories.npy").read_bytes() == (other / "trajectories.npy").read_bytes()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["selection=less", "target=none"], "picks the rows nearest to a target task"),
        (
            ["selection=less", "+arrays.query_gradients.t=[]", "arrays.gradients=[{path: g.npy, learning_rate: 1}]"],
            "one",
        ),
        (["gradients.warmup.max_steps=3"], "max_steps must be null"),
        (["gradients.warmup.method=full", "gradients.warmup.lora=null"], "method=lora"),
        (["gradients.dimension=0"], "dimension=0 must be at least 1"),
        (["gradients.warmup_fraction=0"], "warmup_fraction=0.0 must be above 0"),
        (["gradients.projection=dense"], "rademacher"),
        (["trajectories.training.method=lora"], "needs finetune.lora"),
        (["trajectories.fraction=2"], "at most 1"),
        (["trajectories.checkpoints=0"], "checkpoints=0 must be at least 1"),
    ],
)
def test_configs_that_cannot_work_are_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        select_config(node(["model=tiny", *overrides]))


def test_gradients_of_files_need_the_queries_too(tmp_path: Path) -> None:
    np.save(tmp_path / "g.npy", np.ones((SIZE, 3)))
    given = f"arrays.gradients=[{{path: {tmp_path / 'g.npy'}, learning_rate: 1}}]"
    with pytest.raises(ConfigError, match="given together or not at all"):
        select_config(node(["model=tiny", "selection=less", given]))


def test_given_gradients_and_trajectories_need_no_model(pool: list[str], tmp_path: Path) -> None:
    rows = np.zeros((SIZE, 3), dtype=np.float32)
    rows[[3, 8], [0, 0]] = [1.0, 0.5]
    np.save(tmp_path / "g.npy", rows)
    np.save(tmp_path / "q.npy", np.array([[1.0, 0.0, 0.0]]))
    files = [
        f"arrays.gradients=[{{path: {tmp_path / 'g.npy'}, learning_rate: 1e-5}}]",
        f"+arrays.query_gradients.mine=[{tmp_path / 'q.npy'}]",
    ]
    subset = picked(tmp_path / "store", *pool, "selection=less", *files)
    assert subset.indices[:2].tolist() == [3, 8]
    np.save(tmp_path / "t.npy", rows)
    picked(tmp_path / "store", *pool, *S2L, f"arrays.trajectories={tmp_path / 't.npy'}")
    assert {path.name for path in (tmp_path / "store").iterdir()} <= {"pool", "subset", "locks"}
