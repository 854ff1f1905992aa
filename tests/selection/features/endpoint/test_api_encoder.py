"""Embeddings by an endpoint: order, texts, lengths, counts, resuming."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from siftune.selection.features.encoders.api_encoder import EndpointEncoder
from siftune.selection.features.encoders.embedding import embed
from siftune.selection.features.encoders.tag_embedding import embed_tags
from siftune.selection.features.endpoint.endpoint import Endpoint, EndpointError
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool


def encoder(server: Any, price: float | None = None, **fields: Any) -> EndpointEncoder:
    endpoint = Endpoint(model="m", base_url=server.url, max_retries=2, concurrency=3, input_price=price)
    return EndpointEncoder(**{"name": "api", "endpoint": endpoint, **fields})


def row(prompt: str, response: str) -> Row:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    return Row(id="row", source="made", messages=turns)


def vectors_of(server: Any, *texts: str) -> np.ndarray:
    return np.array([server.vector(text) for text in texts], dtype=np.float32)


def limit(server: Any, characters: int) -> Any:
    """Refuses requests with a text longer than that."""
    error = {"error": {"message": "maximum input length is too small", "code": "context_length_exceeded"}}

    def refuse(body: dict[str, Any]) -> Any:
        return server.Answer(400, error) if max(map(len, body["input"])) > characters else None

    return refuse


def test_vector_i_is_that_of_row_i(server: Any, pool: Pool, tmp_path: Path) -> None:
    server.shuffled = True
    told: list[int] = []
    summary = embed(pool, encoder(server, price=0.02, batch_size=7), None, tmp_path, told.append)
    texts = [f"question {i}\n\nanswer {i}" for i in range(len(pool))]
    np.testing.assert_array_equal(np.load(tmp_path / "embeddings.npy"), vectors_of(server, *texts))
    assert max(len(body["input"]) for body in server.bodies) == 7
    assert (summary.rows, summary.dimension, summary.truncated, summary.tokens) == (200, 4, 0, 800)
    assert summary.usage == {
        "requests": 29, "retries": 0, "prompt_tokens": 800, "completion_tokens": 0,
        "usd": pytest.approx(800 * 0.02 / 1e6),
    }  # fmt: skip
    assert sum(told) == 200


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "ask\n\nsay"),
        ({"text": "prompt"}, "ask"),
        ({"text": "response"}, "say"),
        ({"prompt": "query: "}, "query: ask\n\nsay"),
        ({"max_characters": 16, "prompt": "a long instruction: "}, "a long instructi"),
    ],
)
def test_what_is_embedded(server: Any, fields: dict[str, Any], text: str) -> None:
    block = encoder(server, **fields).open(None).encode([row("ask", "say")])
    assert server.bodies[0]["input"] == [text]
    np.testing.assert_array_equal(block.vectors, vectors_of(server, text))
    assert block.truncated == ("max_characters" in fields)


def test_empty_text_is_sent_as_a_space(server: Any) -> None:
    opening = Row(id="r", source="s", messages=[{"role": "assistant", "content": "Welcome"}])
    encoder(server, text="prompt").open(None).encode([opening])
    assert server.bodies[0]["input"] == [" "]


def test_what_is_too_long_is_cut_until_it_fits_and_the_rest_is_left_alone(server: Any) -> None:
    server.always = limit(server, 60)
    rows = [row("short", str(i)) for i in range(5)] + [row("x" * 98, "a"), row("y" * 60, "b")]
    told: list[int] = []
    block = encoder(server, text="prompt").open(None).encode(rows, told.append)
    # 98 -> 73 -> 54
    texts = ["short"] * 5 + ["x" * 54, "y" * 60]
    np.testing.assert_array_equal(block.vectors, vectors_of(server, *texts))
    assert block.truncated == 1
    assert sum(told) == len(rows)
    assert block.usage["refused"] >= 3


def test_endpoint_that_takes_nothing_is_said_with_the_row(server: Any) -> None:
    server.always = limit(server, 0)
    with pytest.raises(EndpointError, match=r"row row \(made\) is refused .*maximum input length"):
        encoder(server).open(None).encode([row("ask", "say")])


def test_dimensions_are_asked_for_and_checked(server: Any) -> None:
    encoder(server, dimensions=4).open(None).encode([row("ask", "say")])
    assert server.bodies[0]["dimensions"] == 4
    with pytest.raises(EndpointError, match=r"gives 4 numbers for encoder\.dimensions=2.*null"):
        encoder(server, dimensions=2).open(None).encode([row("ask", "say")])


def test_several_models_behind_one_endpoint_are_noticed(server: Any) -> None:
    other = {"data": [{"index": 0, "embedding": [1.0, 2.0]}]}
    server.answers = [server.Answer(200, other)]
    with pytest.raises(EndpointError, match=r"different lengths \(2, 4\)"):
        encoder(server, batch_size=1).open(None).encode([row("a", "b"), row("c", "d")])


def test_interrupted_run_pays_for_no_finished_shard_again(
    server: Any, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EndpointEncoder, "shard_rows", 50)
    undisturbed = embed(pool, encoder(server, batch_size=10), None, tmp_path / "undisturbed")
    server.answered, server.requests = 0, []

    def out_of_credit(body: dict[str, Any]) -> Any:
        return server.Answer(401, {"error": {"message": "no credit"}}) if server.answered >= 12 else None

    server.always = out_of_credit
    with pytest.raises(EndpointError, match="no credit"):
        embed(pool, encoder(server, batch_size=10), None, tmp_path / "again")
    server.settle()
    server.always, server.requests = (lambda body: None), []
    summary = embed(pool, encoder(server, batch_size=10), None, tmp_path / "again")
    assert len(server.requests) == 10
    assert summary.usage == undisturbed.usage
    for name in ("undisturbed", "again"):
        assert (tmp_path / name / "embeddings.npy").read_bytes() == (
            tmp_path / "undisturbed" / "embeddings.npy"
        ).read_bytes()


def test_tags_are_embedded_too(server: Any, tmp_path: Path) -> None:
    embed_tags(["math", "code"], encoder(server).open(None), tmp_path, lambda tags: None)
    np.testing.assert_array_equal(np.load(tmp_path / "embeddings.npy"), vectors_of(server, "math", "code"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dimensions": 0}, "encoder.dimensions=0"),
        ({"max_characters": 3}, "encoder.max_characters=3"),
        ({"batch_size": 0}, "encoder.batch_size=0"),
    ],
)
def test_wrong_settings_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EndpointEncoder(name="api", endpoint=Endpoint(model="m"), **fields)


def test_yaml_says_the_defaults(repository: Path) -> None:
    shown = OmegaConf.to_container(OmegaConf.load(repository / "conf" / "encoder" / "api.yaml"))
    assert isinstance(shown, dict)
    endpoint, shown = shown.pop("endpoint"), {name: shown[name] for name in shown if not name.startswith("_")}
    made = EndpointEncoder(endpoint=Endpoint(**endpoint), **shown)
    assert made == EndpointEncoder(name="api", endpoint=Endpoint(model="text-embedding-3-small"))
    assert set(shown) | {"endpoint"} == {field.name for field in dataclasses.fields(EndpointEncoder)}
