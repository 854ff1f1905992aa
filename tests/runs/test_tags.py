"""Where a selector's tags come from: a file, the pool's rows, or a tagger, whose tags are normalised by themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hydra import compose, initialize_config_module

from siftune.runs.build import ConfigError
from siftune.runs.commands import check_select
from siftune.runs.config import select_config
from siftune.runs.picking import Subset, select
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.workspace import Workspace

SIZE = 24
TOPICS = ("bread", "bridge", "planet", "violin")
KEYWORDS = ["tagger=keywords", "tagger.min_rows=2", "tagger.max_share=1.0", "tagger.max_words=1", "tagger.top_k=2"]


def node(overrides: list[str]) -> Mapping[str, Any]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        return plain_node(compose("select", overrides=overrides))


def picked(store: Path, *overrides: str) -> Subset:
    options = ["model=tiny", f"store={store}", "selection=instag", "budget.amount=4", *overrides]
    return select(select_config(node(options)), Workspace(store))


def kinds(store: Path) -> list[str]:
    """Kind of every finished stage."""
    return sorted(path.parent.parent.name for path in store.glob("*/*/record.json"))


def mapping(folder: Path) -> dict[str, str | None]:
    """Raw tag -> tag of a normalisation."""
    lines = (folder / "mapping.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["raw"]: line["tag"] for line in map(json.loads, lines)}


def write_pool(path: Path, **columns: Any) -> list[str]:
    """Overrides for a pool whose rows ask about one topic each, in turn."""
    lines = []
    for number in range(SIZE):
        question = {"role": "user", "content": f"Tell me of a {TOPICS[number % 4]} and its {TOPICS[number // 12]}"}
        lines.append(json.dumps({"messages": [question, {"role": "assistant", "content": str(number)}], **columns}))
    path.write_text("\n".join(lines), encoding="utf-8")
    return ["pool=file", f"pool.path={path}"]


def test_keywords_tag_a_pool_without_tags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = write_pool(tmp_path / "pool.jsonl")
    store = tmp_path / "store"
    subset = picked(store, *pool, *KEYWORDS)
    assert kinds(store) == ["pool", "subset", "tagging"]
    (folder,) = (store / "tagging").glob("*-*")
    tags = pq.read_table(folder / "tags.parquet")["tags"].to_pylist()
    assert tags[:3] == [["bread", "tell"], ["bread", "bridge"], ["planet", "bread"]]
    assert len({tag for row in subset.indices for tag in tags[row]}) >= len(TOPICS)
    assert picked(store, *pool, *KEYWORDS, "tagger.top_k=1").artifact.folder != subset.artifact.folder


def test_the_file_comes_before_the_pool_and_the_pool_before_the_tagger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = write_pool(tmp_path / "pool.jsonl", tags=["own"])
    store = tmp_path / "store"
    picked(store, *pool, *KEYWORDS)
    assert "the pool's rows have tags of their own: tagger=keywords has nothing to do" in capsys.readouterr().err
    pq.write_table(pa.table({"mine": [[f"t{row}"] for row in range(SIZE)]}), tmp_path / "tags.parquet")
    picked(store, *pool, *KEYWORDS, f"arrays.tags={tmp_path / 'tags.parquet'}:mine")
    assert "arrays.tags are given: tagger=keywords has nothing to do" in capsys.readouterr().err
    assert kinds(store) == ["pool", "subset", "subset"]


def test_a_pool_without_tags_is_refused_with_the_remedies(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tagger=keywords.*tagger=instag.*arrays\.tags=FILE\.parquet:COLUMN"):
        picked(tmp_path / "store", *write_pool(tmp_path / "pool.jsonl"))


def test_another_normalisation_does_not_tag_again(tmp_path: Path) -> None:
    pool, store = write_pool(tmp_path / "pool.jsonl"), tmp_path / "store"
    normalised = ["+tagger.normalise.min_rows=3", "+tagger.normalise.eps=null"]
    picked(store, *pool, *KEYWORDS, *normalised)
    assert kinds(store) == ["normalised_tags", "pool", "subset", "tagging"]
    picked(store, *pool, *KEYWORDS, "+tagger.normalise.min_rows=10", "+tagger.normalise.eps=null")
    assert kinds(store) == ["normalised_tags"] * 2 + ["pool", "subset", "subset", "tagging"]
    kept = [[tag for tag in mapping(file).values() if tag] for file in store.glob("normalised_tags/*")]
    assert sorted(kept, key=len) == [["bread", "bridge"], ["bread", "bridge", "planet", "tell", "violin"]]


def test_tags_are_merged_by_the_tag_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, store = write_pool(tmp_path / "pool.jsonl"), tmp_path / "store"

    def embeddings(self: Workspace, names: list[str], encoder: Any) -> Any:
        folder = tmp_path / "embeddings"
        folder.mkdir(exist_ok=True)
        np.save(folder / "embeddings.npy", np.array([[1.0, float(name == "violin")] for name in names]))
        return type("Found", (), {"array": lambda self, name: np.load(folder / f"{name}.npy")})()

    monkeypatch.setattr(Workspace, "tag_embeddings", embeddings)
    merged = ["+tagger.normalise.min_rows=1", "+tagger.normalise.eps=0.05"]
    picked(store, *pool, *KEYWORDS, *merged)
    (folder,) = store.glob("normalised_tags/*")
    # All but one lie in one place: the most frequent of them, of two the first by name, names the group.
    assert mapping(folder) == {name: "violin" if name == "violin" else "bread" for name in (*TOPICS, "tell")}


def test_the_model_of_the_tagger_can_be_any_option_of_the_group() -> None:
    config = select_config(node(["selection=instag", "tagger=instag", "model@tagger.model=smollm2_embedded"]))
    assert config.tagger is not None
    assert config.tagger.model is not None
    assert config.tagger.model.name == "smollm2_embedded"
    assert config.tagger.normalise is not None
    assert config.tagger.normalise.min_rows == 20
    assert select_config(node(["selection=instag", "tagger=instag"])).tagger.model.name == "instagger"  # type: ignore


def test_a_tagger_whose_model_is_not_there_is_refused_before_compute(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool.jsonl")
    options = ["tagger=instag", f"tagger.model.path={tmp_path / 'nowhere' / 'model'}", f"store={tmp_path / 'store'}"]
    with pytest.raises(ValueError, match="nowhere"):
        check_select(node([*pool, "selection=instag", "budget.amount=4", *options]))
    assert not (tmp_path / "store").exists()
