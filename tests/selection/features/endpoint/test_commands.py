"""Endpoints in the commands: asked where something is missing, looked at before anything is computed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module

from siftune.runs.artifacts import Artifact
from siftune.runs.build import ConfigError
from siftune.runs.commands import before_select, plan_select, select
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.runs.workspace import describe
from siftune.selection.features.endpoint.endpoint import EndpointError

ROWS = 20
SAYS = "\nanswer "
"""Where a row's answer begins in what the judge is asked."""


def by_last_digit(content: str) -> str:
    """1 to 10 by the answer's number."""
    return f"Rating: {1 + int(content.split(SAYS)[1].split()[0]) % 10}"


@pytest.fixture
def overrides(server: Any, tmp_path: Path) -> list[str]:
    """A pool of 20 rows, and its judge."""
    turns = [
        [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": f"answer {i}"}]
        for i in range(ROWS)
    ]
    lines = "\n".join(json.dumps({"messages": messages}) for messages in turns)
    (tmp_path / "pool.jsonl").write_text(lines, encoding="utf-8")
    server.reply = by_last_digit
    return ["pool=file", f"pool.path={tmp_path / 'pool.jsonl'}", f"store={tmp_path / 'store'}", "model=tiny"]


def judged(server: Any, *more: str) -> list[str]:
    judge = [
        "+scorer@scorers.judge=judge",
        "scorers.judge.endpoint.model=m",
        f"scorers.judge.endpoint.base_url={server.url}",
    ]
    return ["selection=top_score", "selection.score=judge", *judge, "scorers.judge.endpoint.input_price=1", *more]


def node(overrides: list[str], primary: str = "select") -> Mapping[str, Any]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        return plain_node(compose(primary, overrides=overrides))


def picked(folder: Path) -> list[str]:
    lines = (folder / "subset.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["messages"][1]["content"] for line in lines]


def records(store: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((store / kind).glob("*/record.json"))]


def test_best_rated_rows_are_picked_and_paid_for_once(server: Any, overrides: list[str], tmp_path: Path) -> None:
    first = judged(server, *overrides, "budget.amount=2", "scorers.judge.endpoint.output_price=1")
    before_select([node(first)])
    assert picked(select(node(first))) == ["answer 9", "answer 19"]
    assert len(server.requests) == ROWS
    (record,) = records(tmp_path / "store", "scores")
    usage = record["summary"]["usage"]
    assert usage["requests"] == ROWS
    assert usage["usd"] == pytest.approx((usage["prompt_tokens"] + usage["completion_tokens"]) / 1e6)
    # A server that has gone since is not missed: all it said is in the store.
    server.close()
    again = judged(server, *overrides, "budget.amount=4")
    before_select([node(again)])
    assert picked(select(node(again))) == ["answer 9", "answer 19", "answer 8", "answer 18"]
    assert len(server.requests) == ROWS


def test_endpoint_that_is_not_there_is_said_before_anything_is_computed(server: Any, overrides: list[str]) -> None:
    server.close()
    given = node(judged(server, *overrides, "budget.amount=2"))
    with pytest.raises(EndpointError, match="cannot be reached"):
        before_select([given])
    plan_select([{**given, "format": "table"}])


def test_key_that_is_missing_is_said_before_anything_is_computed(overrides: list[str]) -> None:
    with pytest.raises(EndpointError, match="set the environment variable OPENAI_API_KEY"):
        before_select([node(["selection=kcenter_greedy", "encoder=api", *overrides, "budget.amount=2"])])


def test_rows_are_embedded_by_an_endpoint(server: Any, overrides: list[str], tmp_path: Path) -> None:
    api = ["encoder=api", f"encoder.endpoint.base_url={server.url}", "encoder.batch_size=8"]
    given = node(["selection=kcenter_greedy", *api, *overrides, "budget.amount=3"])
    before_select([given])
    assert len(picked(select(given))) == 3
    (record,) = records(tmp_path / "store", "embeddings")
    assert record["summary"]["usage"]["requests"] == 3
    assert record["summary"]["dimension"] == 4


def test_judge_without_a_model_is_refused(overrides: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"scorers\.judge\.endpoint\.model must be given a value"):
        before_select([node(["selection=top_score", "+scorer@scorers.judge=judge", *overrides])])


def test_summary_tells_what_it_cost() -> None:
    summary = {"rows": 8, "without_value": 2, "usage": {"requests": 8.0, "usd": 0.01234}}
    words = describe(Artifact(Path("x"), {"summary": summary}, cached=False))
    assert words == "8 rows, 2 without a value, 8 requests, 0.01234 USD"
