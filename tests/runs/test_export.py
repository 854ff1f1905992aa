"""`siftune export` end to end on the tiny model: folders that datasets and huggingface_hub read."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard, ModelCard
from hydra import compose, initialize_config_module

from siftune.runs import commands
from siftune.runs.build import ConfigError
from siftune.runs.config import experiment_config, select_config
from siftune.runs.experiment import run
from siftune.runs.export import check_export, export
from siftune.runs.exporting.dataset_card import Remaking
from siftune.runs.picking import select
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.workspace import Workspace
from siftune.selection.pool.subset import read_indices

LICENCES = {"alpha": "MIT (repo)", "beta": "Apache-2.0", "gamma": None}
TINY = ["pool=file", "model=tiny", "check_resources=false"]


def node(primary: str, overrides: list[str]) -> dict[str, Any]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        return plain_node(compose(primary, overrides=overrides))


def row(number: int, source: str) -> dict[str, Any]:
    turns = [("user", f"What is {number} + 1?"), ("assistant", str(number + 1))]
    record: dict[str, Any] = {"source": source, "messages": [{"role": r, "content": c} for r, c in turns]}
    return record | ({"license": LICENCES[source]} if LICENCES[source] else {})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pool of three sources, and a store with the runs of two seeds and of the base model."""
    folder = tmp_path_factory.mktemp("place")
    lines = [json.dumps(row(number, source)) for number in range(12) for source in LICENCES]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    small = [*TINY, f"pool.path={folder}/rows.jsonl", f"store={folder}/store", "budget.amount=9", "tracking=disabled"]
    small += ["evaluate=skills", "evaluate.limit=2", "finetune.epochs=1", "finetune.global_batch_size=4"]
    for changed in (["selection=random"], ["selection=random", "seed=1"], ["selection=none"]):
        config = experiment_config(node("run", [*small, *changed]))
        run(config, Workspace(config.store))
    return folder


@pytest.fixture
def _any_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that do not look at it: it takes seconds to find."""
    found = Remaking(text="siftune select", note=""), None
    monkeypatch.setattr("siftune.runs.export.remaking", lambda *arguments: found)


def exported(place: Path, output: Path, **given: Any) -> Path:
    return export({"store": str(place / "store"), "output": str(output), **given})


@pytest.fixture(scope="module")
def whole(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(place, tmp_path_factory.mktemp("whole") / "out", label="random", seed=0)


def test_datasets_reads_the_rows_back(whole: Path, place: Path, tmp_path: Path) -> None:
    subset = load_dataset(str(whole / "dataset"), split="train", cache_dir=str(tmp_path))
    pool = [json.loads(line) for line in (place / "rows.jsonl").read_text().splitlines()]
    assert len(subset) == 9
    for picked in subset:
        assert picked["messages"] == pool[picked["pool_row"]]["messages"]
        assert picked["license"] == pool[picked["pool_row"]].get("license")


def test_the_data_card_says_what_is_known(whole: Path) -> None:
    card = DatasetCard.load(whole / "dataset/README.md")
    rows = [json.loads(line) for line in (whole / "dataset/subset.jsonl").read_text().splitlines()]
    assert card.data.license is None
    assert "siftune" in card.data.tags
    assert card.data.size_categories == ["n<1K"]
    for source, licence in LICENCES.items():
        count = sum(record["source"] == source for record in rows)
        assert count == 0 or f"| {source} | {licence or 'none known'} | {count} |" in card.text
    assert "none is claimed for the whole" in card.text
    assert re.search(r"\| tokens \| [\d,]+ \|", card.text)


def test_the_command_on_the_card_makes_the_same_subset(
    whole: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (whole / "dataset/README.md").read_text()
    found = re.search(r"```sh\nsiftune select (.*)\n```", text)
    assert found is not None
    monkeypatch.chdir(place)
    config = select_config(node("select", [*shlex.split(found[1]), f"store={tmp_path}/other"]))
    made = select(config, Workspace(config.store))
    assert f"its subset has this one's fingerprint, `{made.artifact.fingerprint}`" in text
    assert made.indices.tolist() == read_indices(whole / "dataset").tolist()


def test_the_model_card_has_the_scores_and_the_training(whole: Path, place: Path) -> None:
    card = ModelCard.load(whole / "model/README.md")
    assert card.data.library_name == "peft"
    assert card.data.base_model is None
    assert {result.dataset_name for result in card.data.eval_results} == {
        "shell_loss",
        "sql_loss",
        "shell_em",
        "sql_em",
    }
    records = [json.loads(path.read_text()) for path in (place / "store/run").glob("random-*/record.json")]
    (record,) = [record for record in records if record["summary"]["seed"] == 0]
    scores = record["summary"]["results"]["tasks"]
    assert {result.dataset_name: result.metric_value for result in card.data.eval_results} == {
        name: score["value"] for name, score in scores.items()
    }
    assert "| global_batch_size | 4 |" in card.text
    assert "siftune run " in card.text


def test_no_folder_of_this_machine_is_told(whole: Path, place: Path) -> None:
    texts = {path: path.read_text() for path in whole.rglob("*") if path.suffix in (".md", ".json", ".jsonl")}
    assert len(texts) >= 5
    assert not [path for path, text in texts.items() if str(place) in text]
    assert json.loads((whole / "model/adapter_config.json").read_text())["base_model_name_or_path"] == "tiny"


@pytest.mark.usefixtures("_any_command")
def test_a_subset_of_select_is_exported_with_its_one_licence(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "mit.jsonl"
    path.write_text("\n".join(json.dumps(row(number, "alpha")) for number in range(8)), encoding="utf-8")
    asked = [*TINY, f"pool.path={path}", f"store={tmp_path}/store", "selection=longest", "budget.amount=4"]
    commands.select(node("select", [*asked, f"output={tmp_path}/picked"]))
    given = {"store": str(tmp_path / "store"), "subset": str(tmp_path / "picked"), "format": "parquet"}
    export({**given, "output": str(tmp_path / "out")})
    card = DatasetCard.load(tmp_path / "out/dataset/README.md")
    assert card.data.license == "mit"
    assert [found.name for found in (tmp_path / "out").iterdir()] == ["dataset"]
    subset = load_dataset(str(tmp_path / "out/dataset"), split="train", cache_dir=str(tmp_path / "cache"))
    assert subset["rank"] == [0, 1, 2, 3]
    # An older folder has no record: the store's subset of the same rows has it; without the store nothing does.
    (tmp_path / "picked/record.json").unlink()
    export({**given, "output": str(tmp_path / "again")})
    assert (tmp_path / "again/dataset/README.md").read_text() == (tmp_path / "out/dataset/README.md").read_text()
    with pytest.raises(ConfigError, match=r"no record.json, .* store=FOLDER"):
        export({**given, "store": str(place / "store"), "output": str(tmp_path / "third")})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "name one thing to export"),
        ({"label": "random", "subset": "x"}, "name one thing to export"),
        ({"label": "random"}, r"2 runs fit label=random; name one by run=FINGERPRINT: .*seed 1"),
        ({"label": "randon"}, "no run of the store .* it has: .*random, seed 0"),
        ({"label": "base"}, "picked nothing"),
        ({"run": "0", "seed": 1}, "give label too"),
        ({"subset": "nowhere"}, "has no subset.jsonl"),
        ({"subset": "nowhere", "what": "model"}, "has no model"),
        ({"label": "random", "seed": 0, "push": "nameless"}, "owner/name"),
        ({"label": "random", "seed": 0, "push": "me/it"}, "hf auth login"),
    ],
)
def test_what_is_missing_is_named_before_anything_is_written(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Mapping[str, Any], words: str
) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(ConfigError, match=words):
        check_export({"store": str(place / "store"), "output": str(tmp_path / "out"), **given})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_any_command")
def test_a_deleted_checkpoint_is_named_and_the_data_can_go_alone(place: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(place / "store", store)
    shutil.rmtree(store / "checkpoint")
    given = {"store": str(store), "label": "random", "seed": 0, "output": str(tmp_path / "out")}
    with pytest.raises(ConfigError, match="what=dataset"):
        check_export(given)
    assert [folder.name for folder in export({**given, "what": "dataset"}).iterdir()] == ["dataset"]


@pytest.mark.usefixtures("_any_command")
def test_nothing_is_overwritten_silently(place: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    given = {"label": "random", "seed": 0, "what": "dataset"}
    exported(place, output, **given)
    (output / "dataset/README.md").write_text("edited", encoding="utf-8")
    with pytest.raises(ConfigError, match="overwrite=true"):
        exported(place, output, **given)
    assert (output / "dataset/README.md").read_text() == "edited"
    exported(place, output, overwrite=True, **given)
    assert DatasetCard.load(output / "dataset/README.md").data.pretty_name
    (output / "thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"thesis.tex: no export"):
        exported(place, output, overwrite=True, **given)


class Hub:
    """Stands for the hub: notes what is asked of it."""

    calls: ClassVar[list[tuple[str, str, str, Any]]] = []
    public = False

    def create_repo(self, repo: str, *, repo_type: str, private: bool, exist_ok: bool) -> None:
        self.calls.append(("create", repo, repo_type, private))

    def repo_info(self, repo: str, *, repo_type: str) -> Any:
        return type("Info", (), {"private": not self.public})()

    def upload_folder(self, *, repo_id: str, repo_type: str, folder_path: Path, commit_message: str) -> str:
        self.calls.append(("upload", repo_id, repo_type, sorted(path.name for path in folder_path.iterdir())))
        return "address"


@pytest.mark.usefixtures("_any_command")
def test_a_push_is_private_and_takes_both_folders(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "calls", [])
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    output = exported(place, tmp_path / "out", label="random", seed=0, push="me/it")
    assert [call[:3] for call in Hub.calls] == [
        (what, "me/it", kind) for kind in ("dataset", "model") for what in ("create", "upload")
    ]
    assert {call[3] for call in Hub.calls if call[0] == "create"} == {True}
    assert ModelCard.load(output / "model/README.md").data.datasets == ["me/it"]
    assert 'load_dataset("me/it"' in (output / "dataset/README.md").read_text()
    monkeypatch.setattr(Hub, "public", True)
    with pytest.raises(ConfigError, match="there is a public dataset"):
        exported(place, tmp_path / "public", label="random", seed=0, push="me/it", what="dataset")
    assert sum(call[0] == "upload" for call in Hub.calls) == 2
