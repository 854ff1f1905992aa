"""The LLM judge: what it is asked, how its replies are read, what it costs, and that it goes on where it was."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from siftune.selection.features.endpoint.endpoint import Endpoint, EndpointError
from siftune.selection.features.endpoint.endpoint_replies import Reply
from siftune.selection.features.scorers.judge import (
    VERDICT,
    JudgeScorer,
    OpenJudge,
    exchange,
    filled,
    prompt_of,
    shortened,
)
from siftune.selection.features.scorers.scoring import score
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool

TEMPLATE = "Rate this.\nQ: {prompt}\nA: {response}"
ENDPOINT = Endpoint(model="m", base_url="http://localhost/v1")


def judge(server: Any = None, **fields: Any) -> JudgeScorer:
    endpoint = ENDPOINT if server is None else Endpoint(model="m", base_url=server.url, max_retries=2)
    return JudgeScorer(**{"name": "judge", "endpoint": endpoint, "template": TEMPLATE, **fields})


def row(*turns: str) -> Row:
    """Turns by the user and the assistant, in turn."""
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]
    return Row(id="row", source="made", messages=messages)


def rating(text: str, cut: bool = False, **fields: Any) -> float | str:
    config = judge(**fields)
    return OpenJudge(config, None)._rating(Reply(text, cut))  # type: ignore[arg-type]


def by_number(content: str) -> str:
    """1 to 10 by the row's number; rows that end in 3 get words."""
    number = int(content.rsplit(" ", 1)[1])
    return "I cannot say." if number % 10 == 3 else f"Rating: {number % 10 + 1}"


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("Rating: 7", 7.0), ("Rating: 10", 10.0), (" rating: 8\n", 8.0), ("Rating: 7.5", 7.5), ("Rating: **6**", 6.0),
        ("**Rating: 6**", 6.0), ("**Rating:** 6", 6.0), ("Rating: [[9]]", 9.0), ("[Rating: 9]", 9.0),
        ("Rating: 7/10", 7.0), ("Rating: 7 / 10.", 7.0), ("Score = 3 out of 10", 3.0), ("Rating 4", 4.0),
        ("Your rating is 10.", 10.0), ("Overall score: 3", 3.0), ("Rating: 6.\r\nBecause", 6.0),
        ("Rating:\n8\n\nThe answer is right.", 8.0),
    ],
)  # fmt: skip
def test_verdicts_are_read(reply: str, value: float) -> None:
    assert rating(reply) == value


@pytest.mark.parametrize(
    "reply",
    [
        "", "seven", "7", "10\n", "7/10", "The answer is 7.", "I give it a rating of 7",
        "Rating: 7 because it is right",
        "Rating: 7-8", "Rating: -3", "Rating: 7,5", "Rating: good", "Rating: 1-10", "Rating: 7 8", "Rating: 7.5.1",
        "Rating isn't 7", "The lowest rating is 1", "Rating: N",
    ],
)  # fmt: skip
def test_other_replies_have_no_verdict_and_are_quoted(reply: str) -> None:
    assert rating(reply) == f"no verdict in the judge's reply {reply!r}"


@pytest.mark.parametrize("reply", ["Rating: 0", "Rating: 11", "Rating: 100", "Rating: 10.5"])
def test_numbers_off_the_scale_are_no_verdict(reply: str) -> None:
    assert rating(reply) == f"the judge's verdict is not from 1 to 10: {reply!r}"


def test_verdict_that_may_go_on_behind_the_cut_is_none() -> None:
    assert "cut at 16 tokens, in its verdict: 'Rating: 1'" in str(rating("Rating: 1", cut=True))
    assert rating("Rating: 1\nThe answer", cut=True) == 1.0


def test_own_pattern_and_scale() -> None:
    pattern = r"(?i)rating: *(\d+)"
    assert rating("It is right. Rating: 4", verdict=pattern, lowest=0, highest=5) == 4.0
    assert "several verdicts" in str(rating("Rating: 4 or rating: 5", verdict=pattern))
    assert rating("Rating: 4. As I said, rating: 4", verdict=pattern) == 4.0
    assert "no verdict" in str(rating("Rating: good", verdict=r"Rating: (\w+)"))
    assert "no verdict" in str(rating("Rating: none", verdict=r"Rating: (?:(\d)|none)"))


def test_long_reply_is_quoted_in_part() -> None:
    assert str(rating("x" * 500)).count("x") == 80


def test_judge_sees_the_prompt_and_the_answer_as_they_are() -> None:
    tricky = row("Say {response} and {prompt} and {other}", "I say {prompt}")
    asked = filled("{{x}} {prompt}|{response}", prompt_of(tricky), tricky.response())
    assert asked == "{{x}} Say {response} and {prompt} and {other}|I say {prompt}"


def test_last_answer_is_judged_given_the_conversation() -> None:
    conversation = row("Hi", "Hello", "What is 1+1?", "2", "Thanks")
    assert prompt_of(conversation) == "User: Hi\n\nAssistant: Hello\n\nUser: What is 1+1?"
    assert conversation.response() == "2"
    told = Row(id="r", source="s", messages=[{"role": "system", "content": "Be short"}, *row("Hi", "Hello").messages])
    assert prompt_of(told) == "System: Be short\n\nUser: Hi"
    opening = Row(id="r", source="s", messages=[{"role": "assistant", "content": "Welcome"}])
    assert prompt_of(opening) == ""


@pytest.mark.parametrize(("prompt", "response"), [(5, 500), (500, 5), (500, 500), (80, 60), (49, 52), (100, 1)])
def test_long_rows_are_cut_to_the_limit_and_use_it(prompt: int, response: int) -> None:
    asked, answered = "a" * (prompt // 2) + "b" * (prompt - prompt // 2), "c" * response
    cut_asked, cut_answered = shortened(asked, answered, 100)
    assert len(cut_asked) + len(cut_answered) == 100
    if prompt > 50 and len(cut_asked) < prompt:
        assert cut_asked[0] == "a"
        assert cut_asked[-1] == "b"
        assert " [...] " in cut_asked
    assert (len(cut_answered) == response) or cut_answered.endswith(" [...] ")


def test_scores_reasons_usage_and_progress(server: Any, pool: Pool) -> None:
    server.reply = by_number
    rows = list(pool.rows(range(20)))
    told: list[int] = []
    config = judge(server, endpoint=Endpoint(model="m", base_url=server.url, input_price=1.0, output_price=2.0))
    block = config.open(None).score(rows, told.append)
    expected = [np.nan if i % 10 == 3 else i % 10 + 1 for i in range(20)]
    np.testing.assert_array_equal(block.values[:, 0], expected)
    why = "no verdict in the judge's reply 'I cannot say.'"
    assert block.reasons == {3: why, 13: why}
    words = 20 * len(["Rate", "this.", "Q:", "question", "1", "A:", "answer", "1"])
    assert block.usage == {
        "requests": 20, "retries": 0, "prompt_tokens": words, "completion_tokens": 40, "malformed": 2,
        "usd": pytest.approx((words + 2 * 40) / 1e6),
    }  # fmt: skip
    assert block.tokens == words + 40
    assert sum(told) == 20
    first = server.bodies[0]
    assert (first["temperature"], first["max_tokens"], len(first["messages"])) == (0.0, 16, 1)
    assert {body["messages"][0]["content"] for body in server.bodies} == {
        f"Rate this.\nQ: question {i}\nA: answer {i}" for i in range(20)
    }


def test_settings_of_null_are_left_to_the_endpoint(server: Any, pool: Pool) -> None:
    judge(server, temperature=None, max_tokens=None).open(None).score([pool.row(0)])
    assert set(server.bodies[0]) == {"model", "messages"}


def test_rows_that_are_too_long_are_cut_or_refused(server: Any) -> None:
    rows = [row("short", "answer"), row("q" * 400, "r" * 400)]
    told: list[int] = []
    cut = judge(server, max_characters=100).open(None).score(rows, told.append)
    assert cut.truncated == 1
    assert cut.reasons == {}
    assert max(len(body["messages"][0]["content"]) for body in server.bodies) == 100 + len("Rate this.\nQ: \nA: ")
    refused = judge(server, max_characters=100, too_long="refuse").open(None).score(rows, told.append)
    assert refused.truncated == 0
    assert refused.reasons == {1: "800 characters are more than scorer.max_characters=100"}
    assert np.isnan(refused.values[:, 0]).tolist() == [False, True]
    assert len(server.requests) == 3
    assert sum(told) == 4


def test_row_that_the_endpoint_refuses_has_its_reason(server: Any, pool: Pool) -> None:
    error = {"error": {"message": "maximum context length is 8 tokens", "code": "context_length_exceeded"}}
    server.answers = [server.Answer(400, error)]
    config = judge(server, endpoint=Endpoint(model="m", base_url=server.url, concurrency=1))
    block = config.open(None).score(list(pool.rows(range(3))))
    assert block.reasons == {0: "the endpoint refuses the row: maximum context length is 8 tokens"}
    assert block.usage["refused"] == 1


def test_interrupted_run_pays_for_no_finished_shard_again(server: Any, pool: Pool, tmp_path: Path) -> None:
    server.reply = by_number
    config = judge(server)
    undisturbed = score(pool, config, None, tmp_path / "undisturbed")
    assert server.answered == len(pool)
    server.answered = 0

    def out_of_credit(body: dict[str, Any]) -> Any:
        return server.Answer(401, {"error": {"message": "no credit"}}) if server.answered >= 150 else None

    server.always = out_of_credit
    with pytest.raises(EndpointError, match="no credit"):
        score(pool, config, None, tmp_path / "scores")
    server.settle()
    server.always = lambda body: None
    before, server.requests = server.answered, []
    told: list[int] = []
    summary = score(pool, config, None, tmp_path / "scores", told.append)
    # Two shards of 64 were whole; of the third, 22 and what was under way are paid for twice.
    again = {json.dumps(body["messages"]) for body in server.bodies}
    assert len(again) == len(server.requests) == len(pool) - 2 * 64
    assert before <= 150 + config.endpoint.concurrency
    assert sum(told) == len(pool)
    for name in ("judge.npy", "reasons.jsonl"):
        assert (tmp_path / "scores" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    assert summary.usage == undisturbed.usage
    assert (summary.without_value, summary.usage["malformed"], summary.usage["requests"]) == (20, 20, 200)


def test_finished_scores_need_no_endpoint(server: Any, pool: Pool, tmp_path: Path) -> None:
    score(pool, judge(server), None, tmp_path)
    server.close()
    assert score(pool, judge(server), None, tmp_path).usage["requests"] == 200


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"template": "Rate {prompt}"}, r"lacks \{response\}"),
        ({"template": "Rate it"}, r"lacks \{prompt\} and \{response\}"),
        ({"score": "a/b"}, "scorer.score='a/b'"),
        ({"verdict": "(7"}, "not a regular expression"),
        ({"verdict": "7"}, "one group, the rating; it has 0"),
        ({"lowest": 10.0}, "must be below"),
        ({"max_tokens": 0}, "scorer.max_tokens=0"),
        ({"max_characters": 3}, "scorer.max_characters=3"),
        ({"temperature": -1.0}, "scorer.temperature"),
    ],
)
def test_wrong_settings_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        judge(**fields)


def test_yaml_says_the_defaults(repository: Path) -> None:
    shown = OmegaConf.to_container(OmegaConf.load(repository / "conf" / "scorer" / "judge.yaml"))
    assert isinstance(shown, dict)
    assert shown.pop("verdict") == VERDICT
    endpoint, shown = shown.pop("endpoint"), {name: shown[name] for name in shown if not name.startswith("_")}
    assert JudgeScorer(endpoint=ENDPOINT, **shown) == JudgeScorer(
        name="judge", endpoint=ENDPOINT, template=shown["template"]
    )
    assert Endpoint(**{**endpoint, "model": "m"}) == Endpoint(model="m")
    assert set(endpoint) == {field.name for field in dataclasses.fields(Endpoint)}


def test_an_empty_reply_is_rated_as_such() -> None:
    assert exchange(row("Hi", "")) == ("Hi", "")
    assert exchange(row("Hi", "Hello", "Who?", "")) == ("User: Hi\n\nAssistant: Hello\n\nUser: Who?", "")
    assert exchange(row("Hi", "Hello", "Who?", "Me")) == ("User: Hi\n\nAssistant: Hello\n\nUser: Who?", "Me")
