"""lm-eval's tasks on files in a folder: the same questions, prompts and metrics as on the hub's data sets."""

from __future__ import annotations

import functools
import gzip
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest
from lm_eval.api.task import Task

from siftune.evaluate import ifeval_data
from siftune.evaluate.catalog import check_judging, find
from siftune.evaluate.code_eval import CODE_EVAL
from siftune.evaluate.harness import evaluate_suite
from siftune.evaluate.loading import load
from siftune.evaluate.local_data import TABLE
from siftune.evaluate.suite import Suite
from siftune.evaluate.tasks import EvaluationError, LMEvalTask
from siftune.finetune.model_sources import ModelRef
from siftune.selection.pool.source import PoolSource
from siftune.selection.pool.store import Pool

Rows = list[dict[str, Any]]
Hub = Callable[[str, str | None], Mapping[str, Rows]]

ARC = {"question": "Which is ice?", "choices": {"text": ["a", "b", "c", "d"], "label": [*"ABCD"]}, "answerKey": "C"}
SWAG = {"ctx_a": "A man", "ctx_b": "he", "activity_label": "Running", "endings": ["a", "b", "c", "d"], "label": "2"}
SQUAD = {"context": "Paris is in France.", "question": "Where is Paris?", "answers": {"text": ["France"]}}
TYDI = {"id": "english-1", "title": "t", "context": "c", "question": "q?", "answers": {"text": ["yes"]}}
GSM = [
    {"question": "1 + 1?", "answer": "It is 2.\n#### 2"},
    # What str.splitlines takes for an end of line is part of the text.
    {"question": "One \u2028 two?", "answer": "#### 3"},
]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@functools.cache
def read(path: Path) -> Rows:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in content.decode().split("\n") if line]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Hub], None]:
    """As if the hub had these rows."""

    def install(rows_of: Hub) -> None:
        def load_dataset(path: str, name: str | None = None, **settings: Any) -> datasets.DatasetDict:
            found = rows_of(path, name)
            return datasets.DatasetDict({split: datasets.Dataset.from_list(rows) for split, rows in found.items()})

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)

    return install


def hub_of(folder: Path) -> Hub:
    """The hub's data sets, with its columns and splits, made of the developers' files."""

    def rows_of(path: str, name: str | None) -> Mapping[str, Rows]:
        if path == "cais/mmlu":
            own = {"dev": read(folder / "mmlu_dev.jsonl"), "test": read(folder / "mmlu_test.jsonl.gz")}
            return {split: [row for row in rows if row["subject"] == name] for split, rows in own.items()}
        if path == "SaylorTwift/bbh":
            own_task = [row for row in read(folder / "bbh.jsonl") if row["task"] == name]
            return {"test": [{"input": row["input"], "target": row["target"]} for row in own_task]}
        file, split = {
            ("openai/gsm8k", "main"): ("gsm8k_test", "test"),
            ("truthfulqa/truthful_qa", "multiple_choice"): ("truthfulqa_mc", "validation"),
            ("google/IFEval", None): ("ifeval", "train"),
            ("openai/openai_humaneval", None): ("humaneval", "test"),
            ("google-research-datasets/mbpp", "full"): ("mbpp_test", "test"),
        }[path, name]
        return {split: read(folder / f"{file}.jsonl")}

    return rows_of


def answers_to(task: Task, doc: Mapping[str, Any]) -> list[Any]:
    """What a model might have said: the right answer, and not."""
    if task.OUTPUT_TYPE == "multiple_choice":
        options = len(task.doc_to_choice(doc))
        return [[(-float(i != likely), i == likely) for i in range(options)] for likely in range(options)]
    target = task.doc_to_target(doc)
    return [[str(target)], ["no"], [""]]


def judged(task: Task, doc: Mapping[str, Any]) -> list[Any]:
    with CODE_EVAL.asking() as programs:
        found = [
            task.process_results(doc, [answer] if task.config.unsafe_code else answer)
            for answer in answers_to(task, doc)
        ]
        return [*found, *programs]


@pytest.mark.parametrize(
    ("name", "shots"),
    [
        ("mmlu_abstract_algebra", 5),
        ("mmlu_high_school_us_history", 0),
        ("bbh_cot_fewshot_snarks", 3),
        ("bbh_cot_fewshot_word_sorting", 3),
        ("bbh_zeroshot_penguins_in_a_table", 0),
        ("gsm8k_cot", 8),
        ("truthfulqa_mc1", 0),
        ("truthfulqa_mc2", 0),
        ("ifeval", 0),
        ("humaneval", 0),
        ("humaneval_instruct", 0),
        ("siftune_humaneval_pass10", 0),
        ("mbpp", 3),
    ],
)
def test_prompts_and_metrics_are_those_on_the_hubs_data(
    name: str, shots: int, shared: Path, hub: Callable[[Hub], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "ifeval":
        pytest.importorskip("langdetect", reason="needs siftune[ifeval]")
        monkeypatch.setattr(ifeval_data, "has_punkt", lambda: True)
    folder = shared / "benchmarks"
    local = load(LMEvalTask(task=name, metric="any", num_fewshot=shots, data_dir=str(folder)))
    hub(hub_of(folder))
    expected = load(LMEvalTask(task=name, metric="any", num_fewshot=shots))
    assert (local.notes, list(local.tasks)) == ((), list(expected.tasks))
    ours, theirs = local.tasks[name], expected.tasks[name]
    assert len(ours.eval_docs) == len(theirs.eval_docs) > 0
    assert ours.config.generation_kwargs == theirs.config.generation_kwargs
    for number in range(0, len(theirs.eval_docs), len(theirs.eval_docs) // 3):
        doc, same = ours.eval_docs[number], theirs.eval_docs[number]
        assert ours.doc_to_text(doc) == theirs.doc_to_text(same)
        assert ours.doc_to_target(doc) == theirs.doc_to_target(same)
        assert ours.fewshot_context(doc, num_fewshot=shots) == theirs.fewshot_context(same, num_fewshot=shots)
        if not set(doc.get("instruction_id_list", ())) & set(ifeval_data.NEEDS_PUNKT):
            assert judged(ours, doc) == judged(theirs, same)


def test_five_shot_mmlu_reads_as_the_paper_has_it(shared: Path) -> None:
    folder = shared / "benchmarks"
    loaded = load(LMEvalTask(task="mmlu_anatomy", metric="acc", num_fewshot=5, data_dir=str(folder)))
    dev = [row for row in read(folder / "mmlu_dev.jsonl") if row["subject"] == "anatomy"]
    asked = next(row for row in read(folder / "mmlu_test.jsonl.gz") if row["subject"] == "anatomy")

    def worded(row: Mapping[str, Any]) -> str:
        options = "".join(f"{letter}. {text}\n" for letter, text in zip("ABCD", row["choices"], strict=True))
        return f"{row['question'].strip()}\n{options}Answer:"

    examples = "".join(f"{worded(row)} {'ABCD'[row['answer']]}\n\n" for row in dev)
    heading = "The following are multiple choice questions (with answers) about anatomy.\n\n"
    assert len(dev) == 5
    (task,) = loaded.tasks.values()
    assert task.fewshot_context(task.eval_docs[0], num_fewshot=5) == heading + examples + worded(asked)


def test_the_documents_of_the_shared_benchmarks_are_all_read(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ifeval_data, "has_punkt", lambda: False)
    counts = {"mmlu": (57, 14042), "bbh": (27, 6511), "gsm8k_cot": (1, 1319), "mbpp": (1, 500), "ifeval": (1, 477)}
    for name, expected in counts.items():
        if name == "ifeval":
            pytest.importorskip("langdetect", reason="needs siftune[ifeval]")
        loaded = load(LMEvalTask(task=name, metric="any", data_dir=str(shared / "benchmarks")))
        assert (len(loaded.tasks), sum(len(task.eval_docs) for task in loaded.tasks.values())) == expected
        if name == "ifeval":
            assert "64 of 541 documents are left out" in loaded.notes[0]
            assert task_inputs("ifeval", shared / "benchmarks")["punkt_tab"] == "absent"


def task_inputs(name: str, folder: Path, **settings: Any) -> dict[str, str]:
    return LMEvalTask(task=name, metric="any", data_dir=str(folder), **settings).inputs()


def test_ifeval_is_refused_where_its_answers_could_not_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, folder = (LMEvalTask(task="ifeval", metric="any", data_dir=place) for place in (None, "benchmarks"))
    monkeypatch.setattr(ifeval_data, "has_punkt", lambda: False)
    check_judging(folder)
    with pytest.raises(EvaluationError, match="punkt_tab"):
        check_judging(hub)
    monkeypatch.setattr(ifeval_data, "has_punkt", lambda: True)
    check_judging(hub)


def test_a_file_is_the_same_input_however_it_is_given(tmp_path: Path) -> None:
    path = write(tmp_path / "gsm8k_test.jsonl", GSM)
    by_name = LMEvalTask(task="gsm8k_cot", metric="exact_match", data_files={"test": str(path)})
    assert task_inputs("gsm8k_cot", tmp_path) == by_name.inputs()
    before = task_inputs("gsm8k_cot", tmp_path)
    write(path, GSM[:1])
    assert task_inputs("gsm8k_cot", tmp_path) != before


def test_lines_end_at_newlines_alone(tmp_path: Path) -> None:
    write(tmp_path / "gsm8k_test.jsonl.gz", GSM)
    docs = load(LMEvalTask(task="gsm8k_cot", metric="exact_match", data_dir=str(tmp_path))).tasks["gsm8k_cot"].eval_docs
    assert [doc["question"] for doc in docs] == ["1 + 1?", "One \u2028 two?"]


@pytest.mark.parametrize(
    ("name", "rows", "shots", "files"),
    [
        ("arc_challenge_chat", ARC, 0, ["arc_challenge_test"]),
        ("arc_challenge", ARC, 25, ["arc_challenge_train", "arc_challenge_test"]),
        ("hellaswag", SWAG, 10, ["hellaswag_train", "hellaswag_validation"]),
        ("siftune_squad", SQUAD, 3, ["squad_train", "squad_validation"]),
        ("tydiqa_goldp_en", TYDI, 1, ["tydiqa_goldp_train", "tydiqa_goldp_validation"]),
        ("gsm8k", GSM[0], 5, ["gsm8k_train", "gsm8k_test"]),
    ],
)
def test_every_data_set_of_the_suites_may_be_files(
    name: str, rows: dict[str, Any], shots: int, files: list[str], tmp_path: Path
) -> None:
    for file in files:
        # The question itself is never one of its examples: the rows differ.
        write(tmp_path / f"{file}.jsonl", [rows | {"number": number} for number in range(2 + shots)])
    assert len(task_inputs(name, tmp_path, num_fewshot=shots)) == 1 + len(files)
    loaded = load(LMEvalTask(task=name, metric="any", num_fewshot=shots, data_dir=str(tmp_path)))
    (task,) = loaded.tasks.values()
    doc = task.eval_docs[0]
    prompt = task.fewshot_context(doc, num_fewshot=shots)
    assert prompt.count(str(task.doc_to_text(doc)).strip()) == 1 + shots


def test_a_group_of_groups_has_the_mean_over_all_its_questions(tiny: ModelRef, tmp_path: Path) -> None:
    mmlu = LMEvalTask(task="mmlu", metric="acc", num_fewshot=0)
    subjects = [leaf.config["dataset_name"] for leaf in find(mmlu).leaves()]
    row = {"question": "Which?", "choices": ["a", "b", "c", "d"]}
    rows = [row | {"subject": subject, "answer": number % 4} for number, subject in enumerate(subjects)]
    write(tmp_path / "mmlu_test.jsonl", rows)
    suite = Suite(name="s", tasks={"mmlu": mmlu}, data_dir=str(tmp_path))
    found = evaluate_suite(tiny, suite, tmp_path / "out", pools=no_pools).tasks["mmlu"]
    right = [sample["acc"] for sample in read(tmp_path / "out/samples/mmlu.jsonl")]
    assert (found.samples, found.higher_is_better, len(right)) == (57, True, 57)
    assert found.value == pytest.approx(sum(right) / 57)
    # One question a subject: lm-eval has no error to pool.
    assert found.stderr == pytest.approx(statistics.stdev(right) / 57**0.5)


def no_pools(source: PoolSource) -> Pool:
    raise AssertionError(source)


def test_parquet_files_are_read_too(tmp_path: Path) -> None:
    datasets.Dataset.from_list(GSM).to_parquet(str(tmp_path / "gsm8k_test.parquet"))
    task = load(LMEvalTask(task="gsm8k_cot", metric="exact_match", data_dir=str(tmp_path))).tasks["gsm8k_cot"]
    assert [task.doc_to_target(doc) for doc in task.eval_docs] == ["2", "3"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"question": "q"}\n', "row 1 has no answer, which openai/gsm8k has"),
        (b'{"question": "q", "answer": "a"}\n{"quest', "line 2 is not JSON"),
        (b"[1]\n", "line 1 is not a JSON object"),
        (b"\n", "has no row"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "gsm8k_test.jsonl").write_bytes(content)
    with pytest.raises(EvaluationError, match=rf"gsm8k_test\.jsonl.*{message}"):
        load(LMEvalTask(task="gsm8k_cot", metric="exact_match", data_dir=str(tmp_path)))


def test_a_missing_file_is_named_before_anything_is_computed(tmp_path: Path) -> None:
    write(tmp_path / "hellaswag_validation.jsonl", [SWAG])
    tasks = {
        "swag": LMEvalTask(task="hellaswag", metric="acc", num_fewshot=10),
        "own": LMEvalTask(task="boolq", metric="acc"),
    }
    tasks["code"] = LMEvalTask(task="siftune_mmlu", metric="acc", data_files={"test": str(tmp_path / "h.jsonl")})
    write(tmp_path / "h.jsonl", [SWAG])
    suite = Suite(name="s", tasks=tasks, headline=("swag", "own", "code"), data_dir=str(tmp_path))
    with pytest.raises(EvaluationError) as refused:
        suite.inputs()
    message = str(refused.value)
    assert "evaluate.tasks.swag: data_dir=" in message
    assert "has no file hellaswag_train.jsonl" in message
    assert "evaluate.tasks.own: data_dir: siftune knows no files for the data set" in message
    assert message.endswith("leave the tasks out: ~evaluate.tasks.swag ~evaluate.tasks.own 'evaluate.headline=[code]'")


def test_the_folder_is_the_suites_but_for_tasks_with_files_of_their_own(tmp_path: Path) -> None:
    named = LMEvalTask(task="siftune_mmlu", metric="acc", data_files={"test": "mmlu.jsonl"})
    other = LMEvalTask(task="bbh", metric="exact_match", filter="get-answer", data_dir="elsewhere")
    plain = LMEvalTask(task="gsm8k_cot", metric="exact_match")
    suite = Suite(name="s", tasks={"a": named, "b": other, "c": plain}, data_dir=str(tmp_path))
    located = [task.reads_folder and task.data_dir for task in suite.tasks.values() if isinstance(task, LMEvalTask)]
    assert located == [False, "elsewhere", str(tmp_path)]


def test_the_document_names_every_file(repository: Path) -> None:
    text = (repository / "docs/benchmarks.md").read_text(encoding="utf-8")
    for data in TABLE:
        for file in data.files.values():
            assert f"`{file}`" in text, file
