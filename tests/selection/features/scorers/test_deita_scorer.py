"""DEITA's scorers on a model of random weights: against a plain forward over the whole vocabulary, turn by turn."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import DType, ModelRef, RandomModel
from siftune.runs.config import select_config
from siftune.runs.fingerprint import fingerprint
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
from siftune.selection.features.scorers.deita_model import OpenTurnScorer
from siftune.selection.features.scorers.deita_scorer import DeitaScorer, TurnScorer
from siftune.selection.features.scorers.scorer import HasModels, ScoredBlock, Scorer
from siftune.selection.pool.rows import Row

QUALITY = "Rate the response.\n#Question#:\n{query}\n#Response#:\n{response} \n##Quality: "
COMPLEXITY = "Rate the query.\n##Query: {query}  \n##Complexity: "
ALL_ROWS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    RandomModel().build(folder)
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other")
    RandomModel(seed=1).build(folder)
    return folder


def conversation(*turns: str) -> Row:
    """User and assistant in turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]
    return Row(id="-".join(turns)[:20], source="made", messages=messages)


def some_rows() -> list[Row]:
    words = ["find", "the", "file", "that", "was", "written", "first", "and", "sort", "it", "by", "name"]
    lengths = [1, 40, 2, 3, 101, 8, 8, 13, 100, 5]
    single = [conversation(f"question {i}", " ".join(np.resize(words[i % 5 :], n))) for i, n in enumerate(lengths)]
    several = conversation("sort by name", "sort it", "and the first?", "the file that was written", "more", "none")
    return [*single, several, conversation("{response} in braces {0}", "{query}")]


def quality(**fields: Any) -> TurnScorer:
    given = {"model": RandomModel(dtype="float32"), "score": "quality", "template": QUALITY} | fields
    return TurnScorer(name="test", **given)


def complexity(**fields: Any) -> TurnScorer:
    return quality(score="complexity", template=COMPLEXITY, **fields)


def scored(config: TurnScorer, folder: Path, rows: list[Row]) -> ScoredBlock:
    return config.open(config.model.reference(folder)).score(rows)


@torch.inference_mode()
def plain(folder: Path, text: str) -> float:
    """The expected answer from the logits of the whole vocabulary after the text."""
    reference = ModelRef(str(folder), dtype="float32")
    model, tokenizer = load_causal_lm(reference), load_tokenizer(reference)
    logits = model(torch.tensor([tokenizer(text)["input_ids"]])).logits[0, -1]
    digits = [tokenizer(str(number))["input_ids"][-1] for number in range(1, 7)]
    share = logits[digits].double().softmax(0)
    return float(sum(number * share[number - 1] for number in range(1, 7)))


def test_score_is_the_expected_answer_after_the_prompt(folder: Path) -> None:
    rows = some_rows()
    block = scored(quality(), folder, rows)
    assert block.values.shape == (ALL_ROWS, 1)
    assert block.reasons == {}
    for i in (0, 1, 4):
        query, response = (message["content"] for message in rows[i].messages)
        text = f"Rate the response.\n#Question#:\n{query}\n#Response#:\n{response} \n##Quality: "
        assert block.values[i, 0] == pytest.approx(plain(folder, text), rel=1e-5)
    assert block.values[:, 0].std() > 1e-4
    braces = "Rate the response.\n#Question#:\n{response} in braces {0}\n#Response#:\n{query} \n##Quality: "
    assert block.values[-1, 0] == pytest.approx(plain(folder, braces), rel=1e-5)


def test_complexity_sees_the_query_alone(folder: Path) -> None:
    asked = ["what is the sum?", "find it"]
    values = scored(complexity(), folder, [conversation(query, "a") for query in asked]).values[:, 0]
    answered = scored(complexity(), folder, [conversation(query, "another answer") for query in asked]).values[:, 0]
    np.testing.assert_array_equal(values, answered)
    assert values[0] != values[1]
    assert values[1] == pytest.approx(plain(folder, "Rate the query.\n##Query: find it  \n##Complexity: "), rel=1e-5)


@pytest.mark.parametrize("how", ["mean", "sum"])
def test_turns_are_reduced(folder: Path, how: Any) -> None:
    row = some_rows()[10]
    texts = [message["content"] for message in row.messages]
    alone = [conversation(texts[i], texts[i + 1]) for i in (0, 2, 4)]
    turns = scored(quality(), folder, alone).values[:, 0]
    expected = turns.sum() if how == "sum" else turns.mean()
    assert scored(quality(turn_reduction=how), folder, [row]).values[0, 0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_batches_do_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch, dtype: DType, tolerance: float) -> None:
    monkeypatch.setattr("siftune.selection.features.batching.MAX_PADDING", 1.0)
    rows, model = some_rows(), RandomModel(dtype=dtype)
    together = scored(quality(model=model, tokens_per_batch=100_000), folder, rows)
    alone = scored(quality(model=model, tokens_per_batch=1), folder, rows)
    assert together.positions > 2 * together.tokens
    assert alone.positions == alone.tokens == together.tokens
    np.testing.assert_allclose(together.values, alone.values, atol=tolerance)
    backwards = scored(quality(), folder, rows[::-1]).values[::-1]
    np.testing.assert_allclose(backwards, scored(quality(), folder, rows).values, rtol=1e-5)


def test_model_that_treats_its_logits_gives_them_itself(folder: Path) -> None:
    rows, config = some_rows(), quality()
    scorer = config.open(config.model.reference(folder))
    assert isinstance(scorer, OpenTurnScorer)
    expected = scorer.score(rows).values
    model = scorer._models["quality"]._model
    # Llama does not know this setting: the logits stay the same, but come from the model's own forward.
    model.config.final_logit_softcapping = 30.0
    np.testing.assert_allclose(scorer.score(rows).values, expected, rtol=1e-5)
    head = model.get_output_embeddings()
    head.register_parameter("bias", torch.nn.Parameter(torch.zeros(len(head.weight))))
    head.bias.data[load_tokenizer(ModelRef(str(folder)))("6")["input_ids"]] = 50.0
    np.testing.assert_allclose(scorer.score(rows).values, 6.0, rtol=1e-5)


def test_end_of_the_template_is_never_cut(folder: Path) -> None:
    tokenizer = load_tokenizer(ModelRef(str(folder)))
    response = "sort by name " * 60
    before = tokenizer("Rate the response.\n#Question#:\nq\n#Response#:\n" + response)["input_ids"]
    after = tokenizer(" \n##Quality: ")["input_ids"]
    limit = 70
    text = tokenizer.decode([*before[: limit - len(after)], *after])
    rows = [conversation("q", response), conversation("q", "a"), conversation("find the file " * 40, "a")]
    block = scored(quality(max_length=limit), folder, rows)
    assert block.values[0, 0] == pytest.approx(plain(folder, text), rel=1e-5)
    assert block.values[1, 0] == scored(quality(), folder, rows).values[1, 0]
    assert np.isnan(block.values[2, 0])
    assert block.reasons == {2: "turn 1: no token of the response within max_length"}
    assert block.truncated == 2
    short = tokenizer("Rate the response.\n#Question#:\nq\n#Response#:\na \n##Quality: ").input_ids
    assert block.tokens == limit + len(short)


def test_cut_of_the_query_leaves_something_of_it(folder: Path) -> None:
    tokenizer = load_tokenizer(ModelRef(str(folder)))
    rest = len(tokenizer("Rate the query.\n##Query: ").input_ids) + len(tokenizer("  \n##Complexity: ").input_ids)
    rows = [conversation("find the file " * 40, "a")]
    assert scored(complexity(max_length=rest + 2), folder, rows).reasons == {}
    block = scored(complexity(max_length=rest - 1), folder, rows)
    assert block.reasons == {0: "turn 1: no token of the query within max_length"}


def test_template_may_end_with_what_is_scored(folder: Path) -> None:
    tokenizer, limit = load_tokenizer(ModelRef(str(folder))), 30
    text = tokenizer.decode(tokenizer("Rate: " + "find the file " * 40)["input_ids"][:limit])
    block = scored(
        quality(template="Rate: {query}", max_length=limit), folder, [conversation("find the file " * 40, "a")]
    )
    assert block.values[0, 0] == pytest.approx(plain(folder, text), rel=1e-5)


def test_rows_that_no_user_asks_have_a_reason(folder: Path) -> None:
    told: list[int] = []
    lonely = Row(id="x", source="made", messages=[{"role": "assistant", "content": "hello"}])
    rows = [lonely, *some_rows()]
    config = quality()
    block = config.open(config.model.reference(folder)).score(rows, told.append)
    assert block.reasons == {0: "no turn of a user that the assistant answers"}
    assert np.isnan(block.values[0]).all()
    np.testing.assert_allclose(block.values[1:], scored(config, folder, rows[1:]).values, rtol=1e-6)
    assert sum(told) == len(rows)
    assert scored(config, folder, [lonely]).reasons == {0: "no turn of a user that the assistant answers"}


def test_model_that_gives_no_number_is_said_to(folder: Path) -> None:
    config = quality()
    scorer = config.open(config.model.reference(folder))
    assert isinstance(scorer, OpenTurnScorer)
    torch.nn.init.constant_(scorer._models["quality"]._model.get_output_embeddings().weight, math.nan)
    assert scorer.score(some_rows()[:1]).reasons == {0: "the model gives no finite score"}


def both(**fields: Any) -> DeitaScorer:
    second = RandomModel(dtype="float32", seed=1)
    return DeitaScorer(name="test", **({"quality": quality(), "complexity": complexity(model=second)} | fields))


@pytest.mark.parametrize("how", ["mean", "sum"])
def test_product_is_taken_turn_by_turn(folder: Path, other: Path, how: Any) -> None:
    rows = some_rows()
    config = both(turn_reduction=how)
    assert config.provides == ("quality", "complexity", "deita")
    quality_model, complexity_model = config.models.values()
    references = {"quality": quality_model.reference(folder), "complexity": complexity_model.reference(other)}
    told: list[int] = []
    # It is sent to other processes before it is opened.
    located = pickle.loads(pickle.dumps(config.located(references)))
    block = located.open(None).score(rows, told.append)
    assert sum(told) == len(rows)
    q, c = scored(quality(), folder, rows), scored(config.complexity, other, rows)
    np.testing.assert_allclose(block.values[:, :2], np.concatenate([q.values, c.values], axis=1), rtol=1e-6)
    np.testing.assert_allclose(block.values[0, 2], q.values[0, 0] * c.values[0, 0], rtol=1e-6)
    assert (block.tokens, block.positions) == (q.tokens + c.tokens, q.positions + c.positions)
    texts = [message["content"] for message in rows[10].messages]
    alone = [conversation(texts[i], texts[i + 1]) for i in (0, 2, 4)]
    products = scored(quality(), folder, alone).values * scored(config.complexity, other, alone).values
    expected = products.sum() if how == "sum" else products.mean()
    assert block.values[10, 2] == pytest.approx(expected, rel=1e-6)


def test_one_score_of_two_loads_one_model() -> None:
    def name_of(scorer: Scorer) -> str:
        return fingerprint(version=1, config=scorer, inputs=scorer.inputs())

    config = both()
    assert isinstance(config, Scorer)
    assert isinstance(config, HasModels)
    assert isinstance(quality(), Scorer)
    assert not isinstance(quality(), HasModels)
    assert config.only(["quality"]) is config.quality
    assert config.only(["complexity"]) is config.complexity
    assert config.only(["deita"]) is config.only(["quality", "complexity"]) is config
    assert name_of(config.only(["quality"])) == name_of(dataclasses.replace(quality(), name="b", tokens_per_batch=7))
    assert name_of(config) != name_of(dataclasses.replace(config, turn_reduction="sum"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"template": "rate it: "}, "must hold {query}, {response} or both"),
        ({"template": "{query} {query}: "}, "each once"),
        ({"template": "{question}: "}, "no other braces"),
        ({"template": "{query"}, "double a brace"),
        ({"max_length": 0}, "scorer.max_length=0"),
    ],
)
def test_configs_that_make_no_sense_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        quality(**fields)


def test_parts_are_what_their_places_say() -> None:
    with pytest.raises(ValueError, match=r"scorer\.quality\.score='complexity'"):
        both(quality=complexity())


def test_models_that_cannot_answer_in_one_token_are_named(folder: Path, tmp_path: Path) -> None:
    load_causal_lm(ModelRef(str(folder), dtype="float32")).save_pretrained(tmp_path)
    spec = json.loads(load_tokenizer(ModelRef(str(folder))).backend_tokenizer.to_str())
    # As in GPT-2: a space goes with the number after it.
    joined = {f"\u0120{number}": 400 + number for number in range(1, 7)}
    letters = {token: number for token, number in spec["model"]["vocab"].items() if number < 260}
    spec["model"] |= {"vocab": letters | joined, "merges": [[token[0], token[1]] for token in joined]}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(spec)), pad_token="<|pad|>")
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"the model tiny cannot score quality.*'1' as one token.*without that space"):
        scored(quality(), tmp_path, some_rows())
    assert scored(quality(template=QUALITY.rstrip()), tmp_path, some_rows()).reasons == {}


def test_scorer_needs_no_chat_template(folder: Path, tmp_path: Path) -> None:
    load_causal_lm(ModelRef(str(folder), dtype="float32")).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(ModelRef(str(folder)))
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    config = quality(model=RandomModel(dtype="float32", chat_template=None))
    np.testing.assert_array_equal(
        scored(config, tmp_path, some_rows()).values, scored(quality(), folder, some_rows()).values
    )


def test_shipped_options_read_what_the_published_scorers_read() -> None:
    options = ["pool=file", "pool.path=x", "selection=random", "+scorer@scorers.both=deita"]
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        config = select_config(plain_node(compose("select", overrides=options))).scorers["both"]
    assert isinstance(config, DeitaScorer)
    assert [model.path for model in config.models.values()] == [  # type: ignore[union-attr]
        "hkust-nlp/deita-quality-scorer",
        "hkust-nlp/deita-complexity-scorer",
    ]
    # Spaces at the ends of lines belong to what the models were trained with.
    assert config.quality.template.endswith("Question. \n #Question#:\n{query}\n#Response#:\n{response} \n##Quality: ")
    assert config.complexity.template.endswith("user query. \n##Query: {query}  \n##Complexity: ")
