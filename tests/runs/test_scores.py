"""Which scorer computes a score, as it is typed; and scores of two models in one artifact."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_module

from siftune.runs.build import ConfigError
from siftune.runs.config import select_config
from siftune.runs.options import shipped_scorers
from siftune.runs.picking import Subset, select
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.workspace import Workspace

WORDS = ["sort", "the", "list", "of", "names", "by", "length", "and", "print", "it"]


def node(overrides: list[str]) -> Mapping[str, Any]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        return plain_node(compose("select", overrides=overrides))


def picked(store: Path, *overrides: str) -> Subset:
    return select(select_config(node(["model=tiny", f"store={store}", *overrides])), Workspace(store))


def texts() -> list[tuple[str, str]]:
    rng = np.random.default_rng(0)
    return [(f"question {i}", " ".join(rng.choice(WORDS, 1 + i * 7 % 31))) for i in range(20)]


@pytest.fixture
def pool(tmp_path: Path) -> list[str]:
    lines = []
    for prompt, answer in texts():
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"messages": turns}))
    (tmp_path / "pool.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return ["pool=file", f"pool.path={tmp_path / 'pool.jsonl'}", "budget.amount=5", "selection=top_score"]


def kinds(store: Path) -> list[str]:
    return sorted(path.parent.parent.name for path in store.glob("*/*/record.json"))


def test_scores_of_the_text_need_nothing_more_typed(pool: list[str], tmp_path: Path) -> None:
    ratios = []
    for prompt, answer in texts():
        content = f"{prompt}\n\n{answer}".encode()
        ratios.append(len(content) / len(zlib.compress(content, 9)))
    subset = picked(tmp_path / "store", *pool, "selection.score=compression")
    assert subset.indices.tolist() == np.argsort(-np.array(ratios), kind="stable")[:5].tolist()
    assert kinds(tmp_path / "store") == ["pool", "scores", "subset"]
    shortest = picked(tmp_path / "store", *pool, "selection.score=words", "selection.largest=false")
    lengths = [len(answer.split()) for _, answer in texts()]
    assert shortest.indices.tolist() == np.argsort(lengths, kind="stable")[:5].tolist()


def test_scorer_that_computes_a_missing_score_is_named_as_it_is_typed(pool: list[str], tmp_path: Path) -> None:
    for score, option in (("quality", "deita_quality"), ("reward", "reward"), ("deita", "deita"), ("judge", "judge")):
        with pytest.raises(ConfigError, match=rf"add \+scorer@scorers\.{score}={option}[ ,]"):
            picked(tmp_path / "store", *pool, f"selection.score={score}")
    with pytest.raises(ConfigError, match=r"'charm'.*computes characters, compression, .*; bring it as a file"):
        picked(tmp_path / "store", *pool, "selection.score=charm")


def test_every_shipped_scorer_is_known() -> None:
    folder = Path(__file__).resolve().parents[2] / "conf" / "scorer"
    assert set(shipped_scorers()) == {file.stem for file in folder.glob("*.yaml")}
    assert shipped_scorers()["deita"] == ("quality", "complexity", "deita")


def test_two_models_score_once_and_the_product_is_theirs(pool: list[str], tmp_path: Path) -> None:
    store = tmp_path / "store"
    models = [
        "+scorer@scorers.deita=deita",
        "scorers.deita.quality.model=${model}",
        "+model@second=tiny",
        "second.seed=1",
        "scorers.deita.complexity.model=${second}",
    ]
    config = node(["model=tiny", f"store={store}", *pool, *models, "selection.score=deita"])
    config = {key: value for key, value in config.items() if key != "second"}
    subset = select(select_config(config), Workspace(store))
    assert kinds(store) == ["model", "model", "pool", "scores", "subset"]
    (folder,) = (store / "scores").glob("*-*")
    scores = {name: np.load(folder / f"{name}.npy") for name in ("quality", "complexity", "deita")}
    np.testing.assert_allclose(scores["deita"], scores["quality"] * scores["complexity"], rtol=1e-12)
    assert subset.indices.tolist() == np.argsort(-scores["deita"], kind="stable")[:5].tolist()
    alone = ["+scorer@scorers.quality=deita_quality", "scorers.quality.model=${model}", "selection.score=quality"]
    picked(store, *pool, *alone)
    found = [np.load(file) for file in (store / "scores").glob("*-*/quality.npy")]
    assert len(found) == 2
    np.testing.assert_array_equal(found[0], found[1])
