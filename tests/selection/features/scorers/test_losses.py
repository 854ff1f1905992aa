"""The loss scorer, on a model of random weights: against transformers' own loss, one row at a time."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from siftune.finetune.chat import tokenize
from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import DType, ModelRef, RandomModel
from siftune.runs.fingerprint import fingerprint
from siftune.selection.features.scorers import token_losses
from siftune.selection.features.scorers.losses import SCORES, LossScorer
from siftune.selection.features.scorers.scorer import ScoredBlock, Scorer
from siftune.selection.features.scorers.token_losses import OpenLossScorer
from siftune.selection.pool.rows import Row

HEADER = "<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    RandomModel().build(folder)
    return folder


def conversation(*turns: str) -> Row:
    """User and assistant in turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]
    return Row(id="-".join(turns)[:20], source="made", messages=messages)


def rows_of_very_different_lengths() -> list[Row]:
    words = ["find", "the", "file", "that", "was", "written", "first", "and", "sort", "it", "by", "name"]
    lengths = np.random.default_rng(0).permutation([1, 2, 2, 3, 5, 8, 8, 13, 40, 100, 101, 102, 300])
    single = [conversation(f"question {i}", " ".join(np.resize(words[i % 5 :], n))) for i, n in enumerate(lengths)]
    return [*single, conversation("sort by name", "sort it", "and the first?", "the file that was written", "thanks")]


def opened(folder: Path, dtype: DType = "float32", **fields: Any) -> OpenLossScorer:
    config = LossScorer(name="test", model=RandomModel(dtype=dtype), **fields)
    scorer = config.open(config.model.reference(folder))
    assert isinstance(scorer, OpenLossScorer)
    return scorer


def column(block: ScoredBlock, name: str) -> np.ndarray:
    """One score of a block that has all."""
    return np.asarray(block.values[:, SCORES.index(name)])  # type: ignore[arg-type]


@torch.inference_mode()
def own_loss(folder: Path, ids: list[int], said: list[int]) -> float:
    """transformers' mean loss of the tokens marked in `said`."""
    model = load_causal_lm(ModelRef(str(folder), dtype="float32"))
    tokens, mask = torch.tensor([ids]), torch.tensor([said])
    return float(model(input_ids=tokens, labels=torch.where(mask == 1, tokens, -100)).loss)


def test_prepared_rows_give_what_score_gives_and_need_no_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, rows = opened(folder, max_length=60), rows_of_very_different_lengths()
    expected, model = scorer.score(rows), scorer._model
    monkeypatch.setattr(scorer, "_model", None)
    prepared = scorer.prepare(rows)
    monkeypatch.setattr(scorer, "_model", model)
    found = scorer.score_prepared(prepared)
    np.testing.assert_array_equal(found.values, expected.values)
    assert (found.reasons, found.truncated, found.tokens, found.positions) == (
        expected.reasons,
        expected.truncated,
        expected.tokens,
        expected.positions,
    )


def test_perplexities_are_those_of_the_models_own_loss(folder: Path) -> None:
    tokenizer = load_tokenizer(ModelRef(str(folder)))
    rows = rows_of_very_different_lengths()
    block = opened(folder).score(rows)
    assert block.reasons == {}
    for i in (0, 4, 12, 13):
        tokens = tokenize(tokenizer, rows[i].messages, 2048)
        whole = own_loss(folder, tokens.input_ids, [1] * len(tokens.input_ids))
        given = own_loss(folder, tokens.input_ids, tokens.assistant_mask)
        assert column(block, "text_perplexity")[i] == pytest.approx(math.exp(whole), rel=1e-4)
        assert column(block, "perplexity")[i] == pytest.approx(math.exp(given), rel=1e-4)


def test_responses_alone_are_the_same_tokens_after_the_header(folder: Path) -> None:
    tokenizer = load_tokenizer(ModelRef(str(folder)))
    rows = rows_of_very_different_lengths()
    block = opened(folder).score(rows)
    for i in (0, 13):
        ids: list[int] = []
        said: list[int] = []
        for turn in rows[i].messages[1::2]:
            header, response = tokenizer.encode(HEADER), tokenizer.encode(turn["content"] + "<|im_end|>")
            ids += header + response
            said += [0] * len(header) + [1] * len(response)
        alone = own_loss(folder, ids, said)
        assert column(block, "response_perplexity")[i] == pytest.approx(math.exp(alone), rel=1e-4)


def test_template_without_a_header_puts_bos_before_the_response(folder: Path) -> None:
    reference = ModelRef(str(folder), chat_template="mistral", dtype="float32")
    model, tokenizer = load_causal_lm(reference), load_tokenizer(reference)
    row = conversation("sort by name", "sort it", "and the first?", "the file")
    scorer = OpenLossScorer(model, tokenizer, scores=SCORES, max_length=2048, tokens_per_batch=512)
    tokens = tokenize(tokenizer, row.messages, 2048)
    responses = [token for token, said in zip(tokens.input_ids, tokens.assistant_mask, strict=True) if said]
    expected = own_loss(folder, [tokenizer.bos_token_id, *responses], [0] + [1] * len(responses))
    assert column(scorer.score([row]), "response_perplexity")[0] == pytest.approx(math.exp(expected), rel=1e-4)


def test_token_that_begins_every_turn_is_not_put_before_the_header(folder: Path) -> None:
    scorer, rows = opened(folder), rows_of_very_different_lengths()
    expected = scorer.score(rows).values
    tokenizer = load_tokenizer(ModelRef(str(folder)))
    tokenizer.bos_token = "<|im_start|>"
    other = OpenLossScorer(scorer._model, tokenizer, scores=SCORES, max_length=2048, tokens_per_batch=512)
    np.testing.assert_allclose(other.score(rows).values, expected, rtol=1e-5)


def test_ifd_is_the_ratio(folder: Path) -> None:
    block = opened(folder).score(rows_of_very_different_lengths())
    given, alone = column(block, "perplexity"), column(block, "response_perplexity")
    np.testing.assert_allclose(column(block, "ifd"), given / alone, rtol=1e-12)
    np.testing.assert_allclose(column(block, "ifd_loss"), np.log(given) / np.log(alone), rtol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_padding_of_any_width_does_not_reach_a_loss(
    folder: Path, monkeypatch: pytest.MonkeyPatch, dtype: DType, tolerance: float
) -> None:
    monkeypatch.setattr("siftune.selection.features.batching.MAX_PADDING", 1.0)
    rows = rows_of_very_different_lengths()
    padded = opened(folder, dtype, tokens_per_batch=100_000).score(rows)
    assert padded.positions > 4 * padded.tokens
    alone = opened(folder, dtype, tokens_per_batch=1).score(rows)
    assert alone.positions == alone.tokens == padded.tokens
    np.testing.assert_allclose(np.log(padded.values[:, :4]), np.log(alone.values[:, :4]), atol=tolerance)


def test_order_of_the_rows_does_not_matter(folder: Path) -> None:
    rows, scorer = rows_of_very_different_lengths(), opened(folder)
    np.testing.assert_allclose(scorer.score(rows).values, scorer.score(rows[::-1]).values[::-1], rtol=1e-5)


@pytest.mark.parametrize(("logits", "softmax"), [(1, 1), (5000, 700)])
def test_size_of_the_blocks_does_not_matter(
    folder: Path, monkeypatch: pytest.MonkeyPatch, logits: int, softmax: int
) -> None:
    rows, scorer = rows_of_very_different_lengths(), opened(folder)
    expected = scorer.score(rows).values
    monkeypatch.setattr(token_losses, "LOGITS", logits)
    monkeypatch.setattr(token_losses, "SOFTMAX_LOGITS", {"cpu": softmax, "cuda": softmax})
    np.testing.assert_allclose(scorer.score(rows).values, expected, rtol=1e-5)


def test_model_that_treats_its_logits_gives_them_itself(folder: Path) -> None:
    rows, scorer = rows_of_very_different_lengths(), opened(folder)
    expected = scorer.score(rows).values
    # Llama does not know this setting: the logits stay the same, but come from the model's own forward.
    scorer._model.config.final_logit_softcapping = 30.0
    np.testing.assert_allclose(scorer.score(rows).values, expected, rtol=1e-5)


def test_cut_rows_are_scored_as_far_as_they_go(folder: Path) -> None:
    tokenizer = load_tokenizer(ModelRef(str(folder)))
    fits, cut = conversation("q", "a"), conversation("q", "sort by name " * 40)
    without_response = conversation("find the file " * 40, "a")
    block = opened(folder, max_length=50).score([fits, cut, without_response])
    tokens = tokenize(tokenizer, cut.messages, 50)
    expected = own_loss(folder, tokens.input_ids, tokens.assistant_mask)
    assert column(block, "perplexity")[1] == pytest.approx(math.exp(expected), rel=1e-4)
    assert block.truncated == 2
    assert block.reasons == {2: "no response token within max_length"}
    assert np.isnan(block.values[2]).tolist() == [True, False, True, True, True]
    assert np.isfinite(block.values[:2]).all()
    text_only = opened(folder, max_length=50, scores=("text_perplexity",)).score([without_response])
    assert text_only.reasons == {}


def test_model_that_gives_no_number_is_said_to(folder: Path) -> None:
    scorer = opened(folder)
    torch.nn.init.constant_(scorer._model.get_output_embeddings().weight, math.nan)
    block = scorer.score([conversation("q", "a")])
    assert np.isnan(block.values).all()
    assert block.reasons == {0: "the model gives no finite loss"}


def test_only_what_is_asked_is_computed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of_very_different_lengths()
    tokens = [tokenize(load_tokenizer(ModelRef(str(folder))), row.messages, 2048) for row in rows]
    said = sum(sum(token.assistant_mask) for token in tokens)
    length, turns = sum(len(token.input_ids) for token in tokens), len(rows) + 1
    header = len(load_tokenizer(ModelRef(str(folder))).encode(HEADER))
    seen: dict[tuple[str, ...], int] = {}
    costs: dict[tuple[str, ...], int] = {}
    for asked in (("perplexity",), ("text_perplexity",), ("response_perplexity",), ("ifd",)):
        scorer = opened(folder, scores=asked)
        counted = _Counted(scorer._model.get_output_embeddings())
        monkeypatch.setattr(scorer._model, "get_output_embeddings", lambda counted=counted: counted)
        block = scorer.score(rows)
        assert block.values.shape == (len(rows), 1)
        costs[asked], seen[asked] = block.tokens, counted.positions
    assert costs == {
        ("perplexity",): length,
        ("text_perplexity",): length,
        ("response_perplexity",): said + turns * header,
        ("ifd",): length + said + turns * header,
    }
    assert list(seen.values()) == [said, length - len(rows), said, 2 * said]


class _Counted(torch.nn.Linear):
    """A language-model head that counts the positions it is run at."""

    def __init__(self, head: torch.nn.Module) -> None:
        torch.nn.Module.__init__(self)
        self.register_parameter("weight", head.weight)  # type: ignore[arg-type]
        self.register_parameter("bias", None)
        self.positions = 0

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        self.positions += len(states)
        return super().forward(states)


def test_progress_adds_up_to_the_rows(folder: Path) -> None:
    told: list[int] = []
    rows = [*rows_of_very_different_lengths(), conversation("find the file " * 200, "a")]
    opened(folder, scores=("ifd",), max_length=400).score(rows, told.append)
    assert sum(told) == len(rows)
    told.clear()
    opened(folder, scores=("ifd",), max_length=50).score(rows[-1:], told.append)
    assert told == [1]


def test_config_is_a_scorer_whose_batches_are_no_part_of_its_identity() -> None:
    def name_of(scorer: LossScorer) -> str:
        return fingerprint(version=1, config=scorer, inputs=scorer.inputs())

    config = LossScorer(name="loss", model=RandomModel())
    assert isinstance(config, Scorer)
    assert name_of(config) == name_of(dataclasses.replace(config, name="other", tokens_per_batch=7))
    assert name_of(config.only(["ifd", "perplexity"])) == name_of(config.only(("perplexity", "ifd")))
    assert name_of(config.only(["ifd"])) != name_of(config.only(["perplexity"]))


def test_it_computes_what_is_asked_or_what_it_was_told() -> None:
    config = LossScorer(name="loss", model=RandomModel())
    assert config.provides == SCORES
    assert config.only(["ifd", "perplexity"]).provides == ("perplexity", "ifd")
    told = dataclasses.replace(config, scores=("ifd", "perplexity"))
    assert told.only(["ifd"]).provides == ("perplexity", "ifd")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_length": 1}, r"scorer\.max_length=1 must be at least 2"),
        ({"tokens_per_batch": 0}, r"scorer\.tokens_per_batch=0 must be at least 1"),
        ({"scores": ("ifd", "idf")}, r"scorer\.scores=\['ifd', 'idf'\] must name some of perplexity"),
        ({"scores": ()}, r"scorer\.scores=\[\]"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LossScorer(name="loss", model=RandomModel(), **fields)


def test_length_beyond_the_models_positions_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"scorer\.max_length=5000 exceeds the 4096 positions of tiny"):
        opened(folder, max_length=5000)
