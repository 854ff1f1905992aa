"""The client of OpenAI-compatible endpoints: order, retries, counts, and what is said of failures."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
import time
from typing import Any

import numpy as np
import pytest

from siftune.runs.fingerprint import identity
from siftune.selection.features.endpoint.endpoint import Endpoint, EndpointError
from siftune.selection.features.endpoint.endpoint_client import OpenEndpoint
from siftune.selection.features.endpoint.endpoint_errors import Refusal
from siftune.selection.features.endpoint.endpoint_replies import Reply

SAID = Reply("Rating: 7", cut=False, read=1, written=2)
"""What the server says where a test does not script it."""
TOO_LONG = {"message": "This model's maximum context length is 128 tokens.", "code": "context_length_exceeded"}


def endpoint(server: Any, **fields: Any) -> Endpoint:
    return Endpoint(**{"model": "judge", "base_url": server.url, "max_retries": 3, **fields})


def ask(server: Any, *contents: str, **fields: Any) -> tuple[list[Any], dict[str, float]]:
    conversations = [[{"role": "user", "content": content}] for content in contents]
    return endpoint(server, **fields).open().chat(conversations, {"temperature": 0.0})


def test_replies_are_in_order_whatever_comes_first(server: Any) -> None:
    done: list[int] = []
    last_first = [threading.Event() for _ in range(5)]

    def reply(content: str) -> str:
        number = int(content)
        if number < 4:
            assert last_first[number + 1].wait(timeout=10)
        last_first[number].set()
        return f"reply {content}"

    server.reply = reply
    conversations = [[{"role": "user", "content": str(i)}] for i in range(5)]
    replies, usage = endpoint(server, concurrency=5).open().chat(conversations, {}, done.append)
    assert replies == [Reply(f"reply {i}", cut=False, read=1, written=2) for i in range(5)]
    assert usage == {"requests": 5, "retries": 0, "prompt_tokens": 5, "completion_tokens": 10}
    assert done == [1] * 5


def test_as_many_requests_are_under_way_as_the_config_says(server: Any) -> None:
    together = threading.Barrier(3)

    def reply(content: str) -> str:
        together.wait(timeout=10)
        return "7"

    server.reply = reply
    ask(server, *"abcdefghi", concurrency=3)
    assert server.most_in_flight == 3


def test_request_holds_the_model_the_options_the_extra_entries_and_the_key(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    ask(server, "hello", api_key_env="MY_KEY", extra={"top_p": 0.5})
    ((path, body, headers),) = server.requests
    assert path == "/v1/chat/completions"
    messages = [{"role": "user", "content": "hello"}]
    assert body == {"model": "judge", "messages": messages, "temperature": 0.0, "top_p": 0.5}
    assert headers["authorization"] == "Bearer secret"


def test_rate_limit_is_waited_for_as_long_as_it_asks(server: Any) -> None:
    server.answers = [server.Answer(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.4"})]
    replies, usage = ask(server, "a")
    assert replies == [SAID]
    assert (usage["requests"], usage["retries"]) == (1, 1)
    # Without the header the pause would be 0.01 seconds here.
    assert server.times[1] - server.times[0] >= 0.4


@pytest.mark.parametrize("fault", ["500", "503", "drop", "truncated", "html", "empty", "no choices", "null"])
def test_passing_failures_are_retried_and_counted(server: Any, fault: str) -> None:
    whole = json.dumps({"choices": []}).encode()
    faults = {
        "500": server.Answer(500, {"error": "out of order"}),
        "503": server.Answer(503, b"<html>busy</html>"),
        "drop": server.Answer(drop=True),
        "truncated": server.Answer(200, b'{"choices": [{"mess'),
        "html": server.Answer(200, b"<html>log in</html>", {"Content-Type": "text/html"}),
        "empty": server.Answer(200, b""),
        "no choices": server.Answer(200, whole),
        "null": server.Answer(200, b"null"),
    }
    server.answers = [faults[fault], faults[fault]]
    replies, usage = ask(server, "a", "b", concurrency=1)
    assert replies == [SAID] * 2
    assert usage["retries"] == 2
    assert usage["prompt_tokens"] == 2
    assert len(server.requests) == 4


def test_slow_answer_is_given_up_and_asked_for_again(server: Any) -> None:
    stuck, over = [True], threading.Event()

    def reply(content: str) -> str:
        if stuck and stuck.pop():
            over.wait(timeout=30)
        return "Rating: 7"

    server.reply = reply
    replies, usage = ask(server, "a", timeout=1.0)
    over.set()
    assert replies == [SAID]
    assert usage["requests"] == 1
    assert usage["retries"] >= 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {"error": {"message": "bad key"}}), ["key", "OPENAI_API_KEY", "bad key"]),
        ((403, {"error": {"message": "not yours"}}), ["key", "not yours"]),
        ((404, {"error": {"message": "no model judge"}}), ["endpoint.model", "/v1", "no model judge"]),
        ((404, b"not here"), ["endpoint.base_url", "not here"]),
        ((429, {"error": {"message": "slow down"}}), ["rate", "concurrency", "3 retries", "slow down"]),
        ((500, {"error": {"message": "out of order"}}), ["500", "3 retries", "out of order"]),
        ((400, {"detail": "temperature must be 1"}), ["400", "null", "temperature must be 1"]),
        ((200, b"<html>log in</html>"), ["not as an OpenAI-compatible endpoint", "3 times", "log in"]),
    ],
)
def test_lasting_failures_say_what_to_do(server: Any, answer: tuple[int, Any], words: list[str]) -> None:
    server.always = lambda body: server.Answer(*answer)
    with pytest.raises(EndpointError) as failed:
        ask(server, "a")
    for word in [server.url, *words]:
        assert word in str(failed.value)


def test_endpoint_that_never_answers_in_time_is_said(server: Any) -> None:
    def reply(content: str) -> str:
        time.sleep(0.3)
        return "7"

    server.reply = reply
    with pytest.raises(EndpointError, match=r"within 0\.05 seconds, 2 times.*endpoint\.timeout"):
        ask(server, "a", timeout=0.05, max_retries=1)


def test_nobody_there_is_said_before_anything_is_asked() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = Endpoint(model="m", base_url=f"http://127.0.0.1:{free.getsockname()[1]}/v1")
        with pytest.raises(EndpointError, match=r"cannot be reached .*is the server running"):
            nobody.open()


def test_openai_without_a_key_is_said_without_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(EndpointError, match="set the environment variable OPENAI_API_KEY"):
        Endpoint(model="gpt-4o-mini").open()


def test_failure_stops_the_requests_that_have_not_begun(server: Any) -> None:
    server.always = lambda body: server.Answer(401, {"error": {"message": "bad key"}})
    with pytest.raises(EndpointError, match="bad key"):
        ask(server, *map(str, range(200)), concurrency=2)
    assert len(server.requests) < 50


@pytest.mark.parametrize(
    ("answer", "too_long"),
    [
        ((400, {"error": TOO_LONG}), True),
        ((400, {"error": {"message": "maximum input length is 8192 tokens."}}), True),
        ((413, {"message": "`inputs` must have less than 512 tokens. Given: 785", "type": "Validation"}), True),
        ((400, {"error": {"message": "too large", "type": "exceed_context_size_error"}}), True),
        ((400, {"error": {"message": "filtered", "code": "content_filter"}}), False),
    ],
)
def test_what_concerns_one_conversation_stops_no_other(server: Any, answer: tuple[int, Any], too_long: bool) -> None:
    def bad(body: dict[str, Any]) -> Any:
        return server.Answer(*answer) if body["messages"][0]["content"] == "bad" else None

    server.always = bad
    replies, usage = ask(server, "a", "bad", "b")
    assert replies[::2] == [SAID] * 2
    assert isinstance(replies[1], Refusal)
    assert replies[1].too_long == too_long
    assert usage == {"requests": 2, "retries": 0, "refused": 1, "prompt_tokens": 2, "completion_tokens": 4}


def test_cost_is_that_of_the_tokens(server: Any) -> None:
    _, usage = ask(server, "one two three", "four", input_price=0.15, output_price=0.6)
    assert usage["usd"] == pytest.approx((4 * 0.15 + 4 * 0.6) / 1e6)
    assert "usd" not in ask(server, "a", input_price=0.15)[1]
    _, embedded = endpoint(server, input_price=0.02).open().embed([["a b", "c"]])
    assert embedded["usd"] == pytest.approx(3 * 0.02 / 1e6)


def test_answer_without_usage_counts_no_tokens(server: Any) -> None:
    choice = {"message": {"content": None}, "finish_reason": "length"}
    server.answers = [server.Answer(200, {"choices": [choice], "usage": None})]
    replies, usage = ask(server, "a")
    assert replies == [Reply("", cut=True)]
    assert usage["prompt_tokens"] == 0


def test_vectors_are_put_in_the_order_of_the_texts(server: Any) -> None:
    server.shuffled = True
    told: list[int] = []
    batches = [["a", "b", "c"], ["d"]]
    vectors, usage = endpoint(server).open().embed(batches, dimensions=4, progress=told.append)
    for batch, found in zip(batches, vectors, strict=True):
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, np.array([server.vector(text) for text in batch], dtype=np.float32))
    assert sum(told) == 4
    assert usage["requests"] == 2
    assert all(body["dimensions"] == 4 and body["encoding_format"] == "float" for body in server.bodies)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ([(0, [1.0])], "1 embeddings for 2 texts"),
        ([(0, [1.0]), (1, [1.0]), (2, [1.0])], "3 embeddings for 2 texts"),
        ([(0, [1.0]), (0, [2.0])], "an index twice"),
        ([(0, [1.0]), (1, [2.0, 3.0])], "different or no length"),
        ([(0, []), (1, [])], "different or no length"),
        ([(0, [1.0]), (1, [float("nan")])], "not a number"),
    ],
)
def test_embeddings_that_are_no_answer_are_asked_for_again_and_then_refused(
    server: Any, data: list[tuple[int, list[float]]], why: str
) -> None:
    wrong = {"data": [{"index": index, "embedding": vector} for index, vector in data]}
    server.answers = [server.Answer(200, wrong)]
    (vectors,), usage = endpoint(server).open().embed([["a", "b"]])
    assert isinstance(vectors, np.ndarray)
    assert (usage["requests"], usage["retries"]) == (2, 1)
    server.always = lambda body: server.Answer(200, wrong)
    with pytest.raises(EndpointError, match=why):
        endpoint(server).open().embed([["a", "b"]])


def test_place_and_pace_are_no_part_of_the_identity_and_what_is_asked_is() -> None:
    given = Endpoint(model="m", extra={"top_p": 0.5})
    elsewhere = Endpoint(
        model="m", extra={"top_p": 0.5}, base_url="http://x/v1", api_key_env=None, timeout=5, max_retries=1,
        concurrency=3, input_price=1, output_price=2,
    )  # fmt: skip
    assert identity(given) == identity(elsewhere)
    assert identity(given) != identity(dataclasses.replace(given, model="n"))
    assert identity(given) != identity(dataclasses.replace(given, extra={"top_p": 0.6}))


def test_key_is_not_in_what_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    from siftune.runs.fingerprint import plain

    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert "secret" not in json.dumps(plain(Endpoint(model="m")))
    assert "secret" not in repr(Endpoint(model="m"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": " "}, "endpoint.model"),
        ({"base_url": "localhost:8000/v1"}, "http://"),
        ({"timeout": 0}, "endpoint.timeout=0"),
        ({"timeout": float("inf")}, "endpoint.timeout=inf"),
        ({"max_retries": -1}, "endpoint.max_retries=-1"),
        ({"concurrency": 0}, "endpoint.concurrency=0"),
        ({"input_price": -1.0}, "endpoint.input_price"),
        ({"output_price": 1.0}, "give both"),
    ],
)
def test_wrong_settings_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Endpoint(**{"model": "m", **fields})


def test_closed_client_is_left_behind_by_a_failure_alone(server: Any) -> None:
    client = OpenEndpoint(endpoint(server))
    for _ in range(2):
        assert client.chat([[{"role": "user", "content": "a"}]], {})[0] == [SAID]
    assert client.chat([], {}) == ([], {})
