"""Steps on a pool: test documents and near-duplicates go, with reports; what comes after sees a smaller pool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module

from siftune.runs.build import ConfigError
from siftune.runs.commands import check_select
from siftune.runs.commands import select as select_command
from siftune.runs.config import SelectConfig, experiment_config, select_config
from siftune.runs.picking import select
from siftune.runs.pool_steps import prepared_pool
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.workspace import StoredPool, Workspace
from siftune.selection.pool.source import PoolError

QUESTION = "How many golden apples did Atalanta pick up while she ran the race against Hippomenes in old Boeotia?"
STORY = "Once upon a time there lived a miller who had three sons, his mill, a donkey and a cat with fine boots"
ROWS = [
    {"prompt": f"Please answer: {QUESTION}", "completion": "Three.", "source": "leaky"},
    {"prompt": "Tell me a story", "completion": STORY, "source": "tales"},
    {"prompt": "Tell me a story", "completion": f"{STORY}!", "source": "tales"},
    {"prompt": f"please answer {QUESTION}", "completion": "Three", "source": "copies"},
    {"prompt": "What is the sum of two and two?", "completion": "Four", "source": "sums"},
]
FILES = ("removed.jsonl", "README.md")


def node(primary: str, overrides: list[str]) -> Mapping[str, Any]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        return plain_node(compose(primary, overrides=overrides))


@pytest.fixture
def overrides(tmp_path: Path) -> list[str]:
    """A pool of five rows and one held-out conversation, whose question two of the rows ask."""
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "heldout.jsonl").write_text(json.dumps({"prompt": QUESTION, "completion": "Three"}) + "\n")
    return [
        "pool=file",
        f"pool.path={tmp_path}/rows.jsonl",
        "model=tiny",
        "selection=random",
        "budget.amount=2",
        f"store={tmp_path}/store",
        "evaluate=heldout",
        f"evaluate.tasks.heldout_loss.data.path={tmp_path}/heldout.jsonl",
    ]


def prepared(overrides: list[str], *more: str) -> StoredPool:
    config: SelectConfig = select_config(node("select", [*overrides, *more]))
    return prepared_pool(config, Workspace(config.store))


def sources(pool: StoredPool) -> list[str]:
    found: list[str] = pool.pool.sources.tolist()
    return found


def report(pool: StoredPool, step: int = -1) -> tuple[list[dict[str, Any]], str]:
    folder = pool.steps[step].folder
    removed = [json.loads(line) for line in (folder / "removed.jsonl").read_text().splitlines()]
    return removed, (folder / "README.md").read_text()


def test_without_steps_the_pool_is_as_it_was(overrides: list[str]) -> None:
    pool = prepared(overrides)
    assert sources(pool) == ["leaky", "tales", "tales", "copies", "sums"]
    assert pool.steps == ()


def test_rows_with_test_documents_go_and_the_report_says_why(overrides: list[str]) -> None:
    before, pool = prepared(overrides), prepared(overrides, "decontaminate=ngrams")
    assert sources(pool) == ["tales", "tales", "sums"]
    assert pool.fingerprint != before.fingerprint
    assert [pool.pool.row(i) for i in range(3)] == [before.pool.row(i) for i in (1, 2, 4)]
    removed, text = report(pool)
    assert removed[0] == {
        "id": before.pool.ids[0],
        "source": "leaky",
        "why": "holds 100% of a test question of heldout_loss",
        "of": "heldout/0",
        "of_source": "heldout_loss",
        "of_text": QUESTION,
        "overlap": 1.0,
        "text": f"Please answer: {QUESTION}\nThree.",
    }
    assert [line["id"] for line in removed] == [before.pool.ids[0], before.pool.ids[3]]
    assert text.startswith("# Test documents: 2 of 5 rows removed\n")
    assert "| heldout_loss | 1 | 1 | 1 | 100.0% | 2 |" in text
    assert "| leaky | 1 | 1 | 100.0% |" in text
    assert "| tales | 2 | 0 | 0.0% |" in text
    summary = pool.artifact.summary
    assert (summary["rows"], summary["removed"]) == (3, 2)
    assert summary["removed_by_source"] == {"leaky": 1, "copies": 1}
    assert list(summary["tasks"]["heldout_loss"]["contaminated"]) == ["heldout/0"]


def test_of_near_duplicates_the_first_stays(overrides: list[str]) -> None:
    before = prepared(overrides)
    pool = prepared(overrides, "near_duplicates=minhash", "near_duplicates.similarity=0.7")
    assert sources(pool) == ["leaky", "tales", "sums"]
    removed, text = report(pool)
    assert [(line["id"], line["of"]) for line in removed] == [
        (before.pool.ids[2], before.pool.ids[1]),
        (before.pool.ids[3], before.pool.ids[0]),
    ]
    assert removed[0]["overlap"] == 24 / 25
    assert removed[0]["why"].startswith(f"near-duplicate of row {before.pool.ids[1]} of tales (Jaccard similarity 0.9")
    assert text.startswith("# Near-duplicates: 2 of 5 rows removed\n")


def test_test_documents_go_first(overrides: list[str]) -> None:
    pool = prepared(overrides, "near_duplicates=minhash", "near_duplicates.similarity=0.7", "decontaminate=ngrams")
    assert sources(pool) == ["tales", "sums"]
    assert [step.summary["step"] for step in pool.steps] == ["decontaminate", "near_duplicates"]
    assert len(report(pool, 0)[0]) == 2
    assert len(report(pool, 1)[0]) == 1


def test_steps_are_computed_once_and_settings_tell_them_apart(overrides: list[str]) -> None:
    first = prepared(overrides, "near_duplicates=minhash", "decontaminate=ngrams")
    again = prepared(overrides, "near_duplicates=minhash", "decontaminate=ngrams")
    assert [step.cached for step in first.steps] == [False, False]
    assert [step.cached for step in again.steps] == [True, True]
    other = prepared(overrides, "near_duplicates=minhash", "decontaminate=ngrams", "decontaminate.ngram=9")
    assert other.steps[0].fingerprint != first.steps[0].fingerprint


def test_another_limit_or_batch_size_of_the_suite_is_the_same_pool(overrides: list[str]) -> None:
    first = prepared(overrides, "decontaminate=ngrams")
    assert prepared(overrides, "decontaminate=ngrams", "evaluate.limit=1").fingerprint == first.fingerprint


def test_other_test_documents_are_another_pool(overrides: list[str], tmp_path: Path) -> None:
    first = prepared(overrides, "decontaminate=ngrams")
    (tmp_path / "heldout.jsonl").write_text(json.dumps({"prompt": "Quite another question", "completion": "x"}) + "\n")
    second = prepared(overrides, "decontaminate=ngrams")
    assert second.fingerprint != first.fingerprint
    assert len(second.pool) == 5
    assert report(second)[0] == []


def test_picks_come_from_what_is_left(overrides: list[str]) -> None:
    config = select_config(node("select", [*overrides, "decontaminate=ngrams", "budget.amount=3"]))
    subset = select(config, Workspace(config.store))
    assert subset.summary["sources_subset"] == {"tales": 2, "sums": 1}
    assert subset.summary["pool_rows"] == 3


def test_the_reports_lie_beside_the_subset(overrides: list[str], tmp_path: Path) -> None:
    steps = ["decontaminate=ngrams", "near_duplicates=minhash", "near_duplicates.similarity=0.7"]
    select_command(node("select", [*overrides, *steps, f"output={tmp_path}/out"]))
    for step in ("decontaminate", "near_duplicates"):
        for file in FILES:
            assert (tmp_path / "out" / f"{step}-{file}").stat().st_size > 0


def test_a_pool_of_nothing_but_test_documents_is_refused(overrides: list[str], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    with pytest.raises(PoolError, match="no row is left: test documents removed all 1 rows"):
        prepared(overrides, "decontaminate=ngrams")


def test_decontaminate_without_a_suite_is_refused(overrides: list[str]) -> None:
    own = [override for override in overrides if not override.startswith("evaluate")]
    with pytest.raises(ConfigError, match="evaluate=local_benchmarks"):
        select_config(node("select", [*own, "decontaminate=ngrams"]))
    with pytest.raises(ConfigError, match="decontaminate removes rows"):
        experiment_config(node("run", ["selection=random", "evaluate=none", "decontaminate=ngrams"]))


def test_a_suite_that_cannot_be_read_is_refused_before_the_pool_is_read(overrides: list[str], tmp_path: Path) -> None:
    (tmp_path / "heldout.jsonl").unlink()
    with pytest.raises(ValueError, match="heldout"):
        check_select(node("select", [*overrides, "decontaminate=ngrams"]))
    assert not (tmp_path / "store" / "pool").exists()
