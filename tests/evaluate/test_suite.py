"""Suites and tasks: what they refuse, what identifies them, how values are averaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from siftune.evaluate.harness import validate_suite
from siftune.evaluate.results import TaskResult, suite_result
from siftune.evaluate.suite import Suite
from siftune.evaluate.tasks import EvaluationError, ExactMatch, LMEvalTask, ResponseLoss
from siftune.selection.pool.file_pool import FilePool


def result(name: str, value: float, higher: bool = True) -> TaskResult:
    return TaskResult(name=name, metric="m", value=value, stderr=None, higher_is_better=higher, samples=3)


def test_the_headline_averages_the_named_tasks_or_all_scores() -> None:
    tasks = {
        "acc": result("acc", 0.5),
        "em": result("em", 0.1),
        "loss": result("loss", 0.7, False),
        "f1": result("f1", 63.0),
    }
    everything = suite_result(tasks, ())
    assert everything.headline is not None
    assert everything.headline.tasks == ("acc", "em")
    assert everything.headline.value == pytest.approx(0.3)
    named = suite_result(tasks, ("em",))
    assert named.headline is not None
    assert named.headline.value == 0.1
    assert suite_result({"loss": tasks["loss"]}, ()).headline is None


def test_a_value_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="task loss: m is nan"):
        result("loss", float("nan"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": {}}, "tasks is empty"),
        ({"headline": ("shel",)}, "did you mean 'shell'"),
        ({"headline": ("shell", "shell")}, "twice"),
        ({"headline": ("shell", "loss")}, "mixes losses"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"limit": 0}, "limit=0"),
    ],
)
def test_impossible_suites_are_refused(heldout: FilePool, settings: dict[str, object], message: str) -> None:
    tasks = {"shell": ExactMatch(data=heldout), "loss": ResponseLoss(data=heldout)}
    with pytest.raises(ValueError, match=message):
        Suite(**{"name": "s", "tasks": tasks, **settings})  # type: ignore[arg-type]


def test_a_task_name_that_is_no_file_name_is_refused(heldout: FilePool) -> None:
    with pytest.raises(ValueError, match=r"'\.\./x'"):
        Suite(name="s", tasks={"../x": ResponseLoss(data=heldout)})


def test_turns_need_a_chat_template() -> None:
    with pytest.raises(ValueError, match="needs apply_chat_template=true"):
        LMEvalTask(task="gsm8k", metric="exact_match", fewshot_as_multiturn=True)


def test_inputs_follow_the_content_and_not_the_path(local_tasks: Path, tmp_path: Path) -> None:
    def inputs(folder: Path) -> dict[str, str]:
        files = {"test": str(folder / "colours.jsonl")}
        task = LMEvalTask(task=str(folder / "colours.yaml"), metric="acc", data_files=files)
        return Suite(name="s", tasks={"colours": task}).inputs()

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("colours.yaml", "colours.jsonl"):
        (elsewhere / name).write_bytes((local_tasks / name).read_bytes())
    assert inputs(local_tasks) == inputs(elsewhere)
    assert set(inputs(local_tasks)) == {"colours.task", "colours.data_files.test"}
    (elsewhere / "colours.jsonl").write_text("{}\n")
    assert inputs(local_tasks) != inputs(elsewhere)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metric": "acc_nrm"}, "offers acc, acc_norm; did you mean 'acc_norm'"),
        ({"filter": "strict"}, "filter='strict': .* offers none"),
        ({"num_fewshot": 3}, "fixes it at 0"),
        ({"generation": {"temperature": 0.8}}, "generates nothing"),
        ({"data_files": {"train": "colours.jsonl"}}, "is evaluated on 'test'"),
        ({"data_files": {"test": "nowhere.jsonl"}}, "nowhere.jsonl of an evaluation task cannot be read"),
        ({"data_files": {"test": "colours.jsonl", "dev": "colours.jsonl"}}, "has the splits test"),
        ({"task": "nowhere.yaml"}, "nowhere.yaml"),
    ],
)
def test_a_task_that_cannot_work_is_refused_before_any_compute(
    local_tasks: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], message: str
) -> None:
    monkeypatch.chdir(local_tasks)
    given = {"task": "colours.yaml", "metric": "acc", "data_files": {"test": "colours.jsonl"}} | settings
    with pytest.raises(EvaluationError, match=message):
        validate_suite(Suite(name="s", tasks={"colours": LMEvalTask(**given)}))  # type: ignore[arg-type]


def test_a_missing_file_is_told_with_the_folder_that_was_given(tmp_path: Path) -> None:
    task = LMEvalTask(task="siftune_mmlu", metric="acc", data_files={"test": f"{tmp_path}/mmlu.jsonl"})
    with pytest.raises(EvaluationError, match=r"tasks\.mmlu: .*mmlu\.jsonl .*\(evaluate\.folder="):
        validate_suite(Suite(name="s", tasks={"mmlu": task}, folder=str(tmp_path)))


def test_examples_from_the_evaluated_split_are_refused(local_tasks: Path) -> None:
    task = LMEvalTask(
        task=str(local_tasks / "sums.yaml"),
        metric="exact_match",
        filter="strict-match",
        num_fewshot=2,
        data_files={"test": str(local_tasks / "sums.jsonl")},
    )
    with pytest.raises(EvaluationError, match=r"tasks\.sums: .*no split to take examples from.*data_files\.train"):
        validate_suite(Suite(name="s", tasks={"sums": task}))
