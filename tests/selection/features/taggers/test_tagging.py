"""The tagging stage: rows in the pool's order, reasons, resuming; the generative tagger with a tiny model."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from siftune.finetune.generate import Reply, ReplyGenerator
from siftune.finetune.model_sources import ModelRef, PackagedModel, RandomModel
from siftune.selection.features.taggers import instag, tagging
from siftune.selection.features.taggers.instag import GenerativeTagger, OpenTagJob, TagJob
from siftune.selection.features.taggers.tag_normalisation import TagNormalisation
from siftune.selection.features.taggers.tagger import Tagged, text_to_tag
from siftune.selection.features.taggers.tagging import (
    has_whole_tags,
    normalise,
    read_reasons,
    read_tags,
    tag,
    write_tags,
)
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.rows import Row, row_id
from siftune.selection.pool.store import Pool, build_pool

ROWS = 20


def make_pool(folder: Path, size: int = ROWS) -> Pool:
    """Row 3 has no user turn; row 5 is long."""
    lines = []
    for i in range(size):
        question = {"role": "system" if i == 3 else "user", "content": f"question {i}" + " and more" * (90 * (i == 5))}
        lines.append(json.dumps({"messages": [question, {"role": "assistant", "content": f"answer {i}"}]}))
    folder.mkdir()
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    build_pool(FilePool(name="made", path=str(folder / "rows.jsonl")), folder / "pool")
    return Pool.open(folder / "pool")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("rows") / "made")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    folder = tmp_path_factory.mktemp("tiny")
    RandomModel(dtype="float32").build(folder)
    return RandomModel(dtype="float32").reference(folder)


def tagger(**options: Any) -> GenerativeTagger:
    settings = {"max_new_tokens": 6, "max_query_tokens": 40, **options}
    return GenerativeTagger(name="tiny", model=RandomModel(), **settings)


class Scripted:
    """In the model's place: row i's reply lists its number's digits; row 4 does not answer in JSON, row 6 is cut."""

    calls: list[int]
    prompts: list[str]

    def __init__(self) -> None:
        self.calls, self.prompts = [], []

    def encode(self, _: ReplyGenerator, prompts: Sequence[Sequence[dict[str, str]]]) -> list[list[int]]:
        texts = [prompt[0]["content"] for prompt in prompts]
        # The prompt alone, without a query, is encoded to see how much room it leaves.
        self.prompts += [text for text in texts if "question" in text]
        return [[int(re.sub(r".*question (\d+).*|.*", r"\1", text, flags=re.DOTALL) or 0), 9] for text in texts]

    def generate(self, _: ReplyGenerator, prompts: Sequence[Sequence[int]], progress: Any) -> list[Reply]:
        self.calls.append(len(prompts))
        progress(len(prompts))
        return [self._reply(number) for number, _ in prompts]

    def _reply(self, number: int) -> Reply:
        if number == 4:
            return Reply("Sure! Tags: four", 5, ended=True)
        return Reply(json.dumps([f"T{digit}" for digit in str(number)]), 5, ended=number != 6)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    model = Scripted()
    monkeypatch.setattr(ReplyGenerator, "encode", lambda *args: model.encode(*args))
    monkeypatch.setattr(ReplyGenerator, "generate", lambda *args, **options: model.generate(*args, **options))
    monkeypatch.setattr(instag, "SHARD_ROWS", 8)
    return model


def test_row_i_is_pool_row_i_and_what_is_missing_is_said(
    pool: Pool, reference: ModelRef, tmp_path: Path, scripted: Scripted
) -> None:
    told: list[int] = []
    summary = tag(pool, tagger(), reference, tmp_path, told.append)
    table = pq.read_table(tmp_path / "tags.parquet")
    assert table["id"].to_pylist() == pool.ids.tolist()
    tags = table["tags"].to_pylist()
    assert tags[:8] == [["t0"], ["t1"], ["t2"], [], [], ["t5"], ["t6"], ["t7"]]
    assert (tags[11], tags[19]) == (["t1"], ["t1", "t9"])
    assert read_reasons(tmp_path) == {
        pool.ids[3]: "no user turn with text",
        pool.ids[4]: "not JSON: 'Sure! Tags: four'",
    }
    assert (summary.rows, summary.tags, summary.without_tags) == (ROWS, 10, 2)
    # One tag for each of 8 numbers below ten, one for 11, two for each other number.
    assert summary.tags_per_row == (8 + 1 + 18) / ROWS
    assert summary.notes == {"no user turn with text": 1, "not JSON": 1}
    assert (summary.truncated, summary.tokens) == (1, 19 * (2 + 5))
    assert sum(told) == ROWS
    matrix, names = read_tags(tmp_path)
    assert names == [f"t{digit}" for digit in range(10)]
    np.testing.assert_array_equal(matrix.toarray()[19].nonzero()[0], [1, 9])


def test_the_query_is_put_into_the_prompt_and_cut(
    pool: Pool, reference: ModelRef, tmp_path: Path, scripted: Scripted
) -> None:
    tag(pool, tagger(prompt="Tags of {query}, please", max_query_tokens=12), reference, tmp_path)
    assert scripted.prompts[0] == "Tags of question 0, please"
    (long,) = (prompt for prompt in scripted.prompts if "question 5" in prompt)
    assert long.startswith("Tags of question 5 and more")
    assert long.endswith(", please")
    assert len(long) < 60


def test_a_killed_tagging_goes_on_with_the_shard_it_lost(
    pool: Pool, reference: ModelRef, tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag(pool, tagger(), reference, tmp_path / "undisturbed")
    plain = scripted.generate

    def fails(*args: Any, **options: Any) -> Any:
        if len(scripted.calls) == 1:
            raise RuntimeError("killed")
        return plain(*args, **options)

    scripted.calls.clear()
    monkeypatch.setattr(scripted, "generate", fails)
    with pytest.raises(RuntimeError, match="killed"):
        tag(pool, tagger(), reference, tmp_path / "disturbed")
    assert not (tmp_path / "disturbed" / "tags.parquet").exists()
    scripted.calls.clear()
    monkeypatch.setattr(scripted, "generate", plain)
    summary = tag(pool, tagger(), reference, tmp_path / "disturbed")
    assert scripted.calls == [8, 4]
    assert summary.tokens == 19 * (2 + 5)
    for name in ("tags.parquet", "reasons.jsonl"):
        assert (tmp_path / "disturbed" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def test_damaged_tags_are_noticed_and_written_again_without_the_model(
    pool: Pool, reference: ModelRef, tmp_path: Path, scripted: Scripted
) -> None:
    tag(pool, tagger(), reference, tmp_path)
    assert has_whole_tags(tmp_path)
    whole = (tmp_path / "tags.parquet").read_bytes()
    (tmp_path / "tags.parquet").write_bytes(whole[:-1])
    assert not has_whole_tags(tmp_path)
    scripted.calls.clear()
    tag(pool, tagger(), reference, tmp_path)
    assert scripted.calls == []
    assert (tmp_path / "tags.parquet").read_bytes() == whole


def test_a_row_is_tagged_alike_whatever_rows_are_in_its_shard(pool: Pool, reference: ModelRef) -> None:
    """The tiny model repeats the template's last sign, which is no JSON: the reasons quote it."""
    job = TagJob(tagger(), dataclasses.replace(reference, chat_template="vicuna")).open()
    rows = list(pool.rows(range(8)))
    whole = _reasons(job, rows)
    assert whole == _reasons(job, rows[:2]) + _reasons(job, rows[2:])
    assert sum(why == "cut at max_new_tokens: '::::::'" for why in whole) == 7


def _reasons(job: OpenTagJob, rows: Sequence[Row]) -> list[str]:
    note = job.compute(rows, job.prepare(rows), lambda rows: None).note
    assert note["tags"] == [()] * len(rows)
    return [why for _, why in note["reasons"]]


def test_many_rows_are_written_block_by_block(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagging, "_ROWS_AT_ONCE", 3)

    def rows() -> Iterator[Tagged]:
        for i in range(ROWS):
            yield Tagged((f"t{i}",)) if i % 2 else Tagged((), "even")

    counts = write_tags(pool, tmp_path, rows())
    assert (counts.rows, counts.tags, counts.tags_per_row, counts.without_tags) == (ROWS, 10, 0.5, 10)
    assert pq.read_table(tmp_path / "tags.parquet")["tags"].to_pylist()[7] == ["t7"]


def test_normalised_tags_keep_the_reasons_and_add_their_own(pool: Pool, tmp_path: Path) -> None:
    raw = [Tagged(("Math", "math!", "rare")), Tagged(("math",)), Tagged((), "empty reply"), Tagged(("once", "single"))]
    write_tags(pool, tmp_path, raw + [Tagged(("other",))] * (ROWS - 4))
    config = TagNormalisation(min_rows=2, eps=None)
    (tmp_path / "normalised").mkdir()
    summary = normalise(pool, tmp_path, tmp_path / "normalised", config, lambda names: np.eye(len(names)))
    tags = pq.read_table(tmp_path / "normalised" / "tags.parquet")["tags"].to_pylist()
    assert tags[:5] == [["math"], ["math"], [], [], ["other"]]
    assert read_reasons(tmp_path / "normalised") == {
        pool.ids[2]: "empty reply",
        pool.ids[3]: "all of its 2 tags were dropped",
    }
    assert (summary.raw_tags, summary.dropped_tags, summary.tags, summary.without_tags) == (7, 3, 2, 2)
    assert (tmp_path / "normalised" / "mapping.jsonl").read_text(encoding="utf-8").count("\n") == 7


def test_the_first_user_turn_with_text_is_the_query_and_all_turns_are_the_conversation() -> None:
    contents = [("system", "be brief"), ("user", " "), ("user", "first"), ("assistant", "yes"), ("user", "second")]
    messages = [{"role": role, "content": content} for role, content in contents]
    row = Row(id=row_id(messages), source="test", messages=messages)
    assert text_to_tag(row, "first_query") == "first"
    assert text_to_tag(row, "conversation") == "be brief\n\nfirst\n\nyes\n\nsecond"
    assert text_to_tag(dataclasses.replace(row, messages=messages[:2] + messages[3:4]), "first_query") is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_new_tokens": 0}, "tagger.max_new_tokens=0"),
        ({"prompt": "Tag this."}, "must have {query} once"),
        ({"prompt": "{query} {query}"}, "must have {query} once"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tagger(**options)


def test_texts_and_replies_that_the_model_has_no_room_for_are_refused_at_once(reference: ModelRef) -> None:
    with pytest.raises(ValueError, match=r"max_query_tokens=4096 and .*max_new_tokens=6 .* 4096 positions of tiny"):
        TagJob(tagger(max_query_tokens=4096), reference).open()


@pytest.mark.slow
def test_smollm2_replies_alike_in_any_shard_and_ends_its_turns(tmp_path: Path) -> None:
    """A model of 135M parameters seldom writes the JSON asked for (3 rows of 240): its replies are in the reasons."""
    pytest.importorskip("gguf")
    model = PackagedModel(name="smollm2_embedded", dtype="float32")
    model.build(tmp_path / "model")
    asked = GenerativeTagger(name="smollm2", model=model, prompt="{query} Answer in one word.", max_new_tokens=24)
    questions = ("Is water wet?", "What is 12 x 7?", "Which animal barks?", "What is the capital of France?")
    turns = [[{"role": "user", "content": text}] for text in (*questions, *(f"Tell me: {text}" for text in questions))]
    rows = [Row(id=row_id(messages), source="test", messages=messages) for messages in turns]
    job = TagJob(asked, model.reference(tmp_path / "model")).open()
    whole = _outcomes(job, rows)
    assert whole[:2] == _outcomes(job, rows[:2])
    assert any("not JSON" in str(outcome) for outcome in whole), "no reply ended by itself"
    assert any("Paris" in str(outcome) for outcome in whole)


def _outcomes(job: OpenTagJob, rows: Sequence[Row]) -> list[Any]:
    """Of each row its tags or why it has none."""
    note = job.compute(rows, job.prepare(rows), lambda rows: None).note
    reasons = dict(note["reasons"])
    return [tags or reasons[number] for number, tags in enumerate(note["tags"])]
