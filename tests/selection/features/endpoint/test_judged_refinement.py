"""A refinement whose rounds an LLM judge scores: gold minus generated, and rows that it gives no verdict on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_module

from siftune.runs.commands import before_run, check_run
from siftune.runs.config import experiment_config
from siftune.runs.experiment import begin
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.rounds.files import read_refinement
from siftune.runs.workspace import Workspace
from siftune.selection.features.endpoint.endpoint import EndpointError

GOOD, BAD = "good", "bad"
UNSURE = {f"question {GOOD} 3", f"question {GOOD} 4"}
"""What the judge has no verdict on."""


def by_source(content: str) -> str:
    """10 for the pool's answers of the good source, 1 for those of the bad one, 4 for what the model says."""
    if any(f"{question}\n" in content for question in UNSURE):
        return "I cannot say."
    if f"\nanswer {GOOD} " in content:
        return "Rating: 10"
    return "Rating: 1" if f"\nanswer {BAD} " in content else "Rating: 4"


@pytest.fixture
def overrides(server: Any, tmp_path: Path) -> list[str]:
    """A pool of two sources of 12 rows, and its judge."""
    rows = [
        {
            "source": source,
            "quality": 1.0,
            "messages": [
                {"role": "user", "content": f"question {source} {i}"},
                {"role": "assistant", "content": f"answer {source} {i}"},
            ],
        }
        for source in (GOOD, BAD)
        for i in range(12)
    ]
    lines = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "pool.jsonl").write_text(lines, encoding="utf-8")
    scores = np.ones(len(rows))
    np.save(tmp_path / "scores.npy", scores)
    server.reply = by_source
    return [
        *["pool=file", f"pool.path={tmp_path / 'pool.jsonl'}", f"store={tmp_path / 'store'}", "model=tiny"],
        *["encoder=mean", "selection=kmq", f"+arrays.scores.deita={tmp_path / 'scores.npy'}", "budget.amount=12"],
        *["refinement=diversify_judge", "refinement.cluster_by=source", "refinement.rounds=2", "finetune.epochs=1"],
        *["refinement.scorer.endpoint.model=m", f"refinement.scorer.endpoint.base_url={server.url}"],
        *["refinement.decoding.max_new_tokens=4", "evaluate=none", "tracking=disabled"],
    ]


def node(overrides: list[str]) -> Mapping[str, Any]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        return plain_node(compose("run", overrides=overrides))


def test_the_judge_moves_weight_to_the_source_it_likes(server: Any, overrides: list[str], tmp_path: Path) -> None:
    config = experiment_config(node(overrides))
    subset = begin(config, Workspace(config.store)).subset
    assert subset is not None
    assert subset.refinement is not None
    report = read_refinement(subset.refinement.folder)
    assert report.names == (BAD, GOOD)
    first, second = report.rounds
    assert first.means is not None
    assert first.means.tolist() == [1 - 4, 10 - 4]
    assert second.weights is not None
    expected = np.exp([-3.0, 6.0])
    np.testing.assert_allclose(second.weights, expected / expected.sum(), rtol=1e-12)
    # Each of the first round's rows is rated twice, the pool's answer and the model's reply; the last round is not.
    assert len(server.requests) == 12
    assert report.drawn(second).tolist() == [0, 6]


def test_rows_without_a_verdict_have_a_reason(server: Any, overrides: list[str], tmp_path: Path) -> None:
    config = experiment_config(node([*overrides, "budget.amount=24", "refinement.shares=[23,1]"]))
    subset = begin(config, Workspace(config.store)).subset
    assert subset is not None
    assert subset.refinement is not None
    first = read_refinement(subset.refinement.folder).rounds[0]
    ids = subset.pool.pool.ids[first.rows].tolist()
    asked = [row.messages[0]["content"] for row in subset.pool.pool.rows(first.rows.tolist())]
    unsure = [place for place, question in enumerate(asked) if question in UNSURE]
    assert unsure
    assert first.values is not None
    assert np.flatnonzero(np.isnan(first.values)).tolist() == unsure
    assert first.unscored.keys() == {ids[place] for place in unsure}
    for why in first.unscored.values():
        assert why.startswith("no score of the pool's answer: no verdict in the judge's reply")


def test_a_judge_that_is_not_there_is_missed_before_anything_is_computed(
    server: Any, overrides: list[str], tmp_path: Path
) -> None:
    server.close()
    check_run(node(overrides))
    with pytest.raises(EndpointError, match=server.url):
        before_run([node(overrides)])
    assert not list((tmp_path / "store").glob("checkpoint/*"))
