"""Code benchmarks: lm-eval's own tasks, with their programs executed in the sandbox and only with leave to."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from siftune.evaluate import code_eval, harness
from siftune.evaluate.code_eval import CODE_EVAL, check_enclosed, pass_at_k
from siftune.evaluate.documents import documents_of
from siftune.evaluate.execution import CodeExecution
from siftune.evaluate.harness import validate_suite
from siftune.evaluate.loading import load
from siftune.evaluate.sandbox import SandboxError, Verdict, check_sandbox
from siftune.evaluate.suite import Suite
from siftune.evaluate.tasks import EvaluationError, LMEvalTask
from siftune.evaluate.token_counts import TokenCounts

LIMITS = CodeExecution(cpu_seconds=5, workers=2)

HUMANEVAL = [
    {
        "task_id": f"HumanEval/{number}",
        "prompt": f'def {name}(x):\n    """{name} of x"""\n',
        "entry_point": name,
        "canonical_solution": f"    return {right}\n",
        "test": f"def check(candidate):\n    assert candidate(3) == {value}\n",
    }
    for number, (name, right, value) in enumerate([("double", "2 * x", 6), ("square", "x * x", 9)])
]
MBPP = [
    {
        "task_id": 11,
        "text": "Write a function to add one.",
        "code": "def add_one(x):\r\n  return x + 1",
        "test_list": ["assert add_one(1) == 2", "assert add_one(0) == 1", "assert add_one(-1) == 0"],
    }
]


@pytest.fixture
def sandboxed() -> None:
    try:
        check_sandbox(LIMITS)
    except SandboxError as error:
        pytest.skip(f"no sandbox here: {error}")


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., LMEvalTask]:
    def write(task: str, metric: str, filter: str, rows: list[dict[str, Any]]) -> LMEvalTask:
        path = tmp_path / f"{task}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return LMEvalTask(task=task, metric=metric, filter=filter, data_files={"test": str(path)})

    return write


@pytest.fixture
def humaneval(data: Callable[..., LMEvalTask]) -> LMEvalTask:
    return data("humaneval", "pass@1", "create_test", HUMANEVAL)


@pytest.fixture
def mbpp(data: Callable[..., LMEvalTask]) -> LMEvalTask:
    return data("mbpp", "pass_at_1", "none", MBPP)


def suite(task: LMEvalTask, **settings: Any) -> Suite:
    return Suite(name="code", tasks={"code": task}, **{"allow_code_execution": True, "execution": LIMITS, **settings})


class Answers(LM):
    """A model that answers by a function of the document and of how often it was asked, and finds any choice likely;
    also what runs it."""

    def __init__(self, answer: Callable[[dict[str, Any], int], str]) -> None:
        super().__init__()
        self.answer = answer
        self.counts = TokenCounts()
        self.lm = self

    def spent(self) -> dict[str, float]:
        return {}

    def generate_until(self, requests: list[Instance]) -> list[str]:  # type: ignore[override]
        asked: dict[int, int] = {}
        replies = []
        for request in requests:
            asked[request.doc_id] = asked.get(request.doc_id, -1) + 1
            replies.append(self.answer(request.doc, asked[request.doc_id]))
        return replies

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:  # type: ignore[override]
        return [(-float(request.idx), True) for request in requests]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:  # type: ignore[override]
        pytest.fail("answers are generated, not rated")


def score(task: LMEvalTask, answer: Callable[[dict[str, Any], int], str], folder: Path) -> float:
    harness._evaluate_task(Answers(answer), "code", suite(task), load(task), folder, seed=0)  # type: ignore[arg-type]
    return float(json.loads((folder / "tasks/code.json").read_text())["value"])


def canonical(doc: dict[str, Any], asked: int) -> str:
    return str(doc.get("canonical_solution") or doc.get("code"))


@pytest.mark.usefixtures("sandboxed")
@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_right_programs_score_one_and_wrong_ones_nothing(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    task = request.getfixturevalue(name)
    validate_suite(suite(task))
    assert score(task, canonical, tmp_path / "right") == 1.0
    assert score(task, lambda doc, asked: "    return None\n", tmp_path / "wrong") == 0.0


def test_tasks_without_programs_stand_beside_those_with_them(
    humaneval: LMEvalTask, local_tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_eval, "execute", lambda *given: pytest.fail("executed"))
    colours = LMEvalTask(
        task=str(local_tasks / "colours.yaml"),
        metric="acc",
        data_files={"test": str(local_tasks / "colours.jsonl")},
    )
    both = Suite(
        name="both", tasks={"code": humaneval, "colours": colours}, allow_code_execution=True, execution=LIMITS
    )
    model = Answers(canonical)
    harness._evaluate_task(model, "colours", both, load(colours), tmp_path, seed=0)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "tasks/colours.json").read_text())["value"] == pytest.approx(1 / 3)


@pytest.mark.usefixtures("sandboxed")
def test_pass_at_10_of_twenty_samples(data: Callable[..., LMEvalTask], tmp_path: Path) -> None:
    """Of the first problem 3 of 20 are right, of the second none."""
    task = data("siftune_humaneval_pass10", "pass@10", "create_test", HUMANEVAL)

    def answer(doc: dict[str, Any], asked: int) -> str:
        right = asked < 3 and doc["entry_point"] == "double"
        return str(doc["canonical_solution"]) if right else f"    return {asked} - 100\n"

    # 1 - C(17, 10) / C(20, 10) = 1 - 2 / 19, and 0.
    assert score(task, answer, tmp_path) == pytest.approx((1 - 2 / 19) / 2)


@pytest.mark.parametrize(("samples", "correct", "k"), [(5, 2, 1), (5, 2, 3), (6, 0, 2), (4, 4, 4), (7, 3, 5)])
def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_one(samples: int, correct: int, k: int) -> None:
    draws = list(combinations(range(samples), k))
    expected = Fraction(sum(min(draw) < correct for draw in draws), len(draws))
    assert pass_at_k(samples, correct, k) == pytest.approx(float(expected))


def test_the_values_are_those_of_the_hubs_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_eval, "execute", lambda program, limits: Verdict("right\n" in program, "no"))
    with CODE_EVAL.allowed(LIMITS, {}):
        scores, found = CODE_EVAL.compute(
            references=["t1", "t2"], predictions=[["right", "wrong"], ["wrong", "wrong"]], k=[1, 2, 3]
        )
    assert scores == {"pass@1": 0.25, "pass@2": 0.5}
    assert found[0][0] == (0, {"task_id": 0, "passed": True, "result": "passed", "completion_id": 0})
    assert found[1][1] == (1, {"task_id": 1, "passed": False, "result": "failed: no", "completion_id": 1})


def test_nothing_is_executed_without_leave(humaneval: LMEvalTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_eval, "execute", lambda *given: pytest.fail("executed"))
    with pytest.raises(EvaluationError, match=r"tasks: code would execute .*allow_code_execution=true.*~evaluate"):
        validate_suite(suite(humaneval, allow_code_execution=False))
    with pytest.raises(EvaluationError, match="allow_code_execution=true"):
        CODE_EVAL.compute(references=["assert True"], predictions=[["x = 1"]])
    # Reading the questions, for decontamination, executes nothing and needs no leave.
    validate_suite(suite(humaneval, allow_code_execution=False), evaluated=False)
    assert len(list(documents_of("code", humaneval, lambda source: pytest.fail("no pool")))) == 2


def test_a_suite_that_cannot_be_enclosed_is_refused_before_the_model_is_loaded(
    humaneval: LMEvalTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(limits: CodeExecution) -> None:
        raise SandboxError("no namespaces")

    monkeypatch.setattr(harness, "check_sandbox", refuse)
    with pytest.raises(EvaluationError, match="no namespaces"):
        validate_suite(suite(humaneval))


def test_a_task_with_an_executor_of_its_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def runs(references, predictions):\n    exec(predictions[0])\n")
    task = tmp_path / "own.yaml"
    task.write_text(
        "task: own\ndataset_path: json\nunsafe_code: true\ntest_split: test\noutput_type: generate_until\n"
        "doc_to_text: q\ndoc_to_target: a\nmetric_list:\n  - metric: !function own.runs\n    higher_is_better: true\n"
    )
    (tmp_path / "rows.jsonl").write_text('{"q": "x", "a": "y"}\n')
    found = LMEvalTask(task=str(task), metric="runs", data_files={"test": str(tmp_path / "rows.jsonl")})
    with pytest.raises(EvaluationError, match=r"tasks\.code: the task own executes .* in a way of its own"):
        validate_suite(suite(found))


def test_the_limits_are_part_of_what_identifies_a_suite_that_executes(humaneval: LMEvalTask) -> None:
    assert "execution" not in suite(humaneval, allow_code_execution=False).inputs()
    few, many = (suite(humaneval, execution=CodeExecution(workers=n)).inputs() for n in (1, 8))
    assert few == many
    assert few != suite(humaneval, execution=CodeExecution(cpu_seconds=30)).inputs()


def test_the_shipped_tasks_that_execute_are_enclosed() -> None:
    from siftune.evaluate.catalog import executing

    for task in ("humaneval", "humaneval_instruct", "mbpp", "siftune_humaneval_pass10"):
        (definition,) = executing(LMEvalTask(task=task, metric="pass@1"))
        check_enclosed(definition)


@pytest.mark.slow
@pytest.mark.usefixtures("sandboxed")
def test_every_canonical_solution_of_humaneval_passes(shared: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (shared / "benchmarks/humaneval.jsonl").read_text("utf-8").split("\n") if line]
    task = LMEvalTask(
        task="humaneval",
        metric="pass@1",
        filter="create_test",
        data_files={"test": str(shared / "benchmarks/humaneval.jsonl")},
    )
    assert score(task, canonical, tmp_path) == 1.0
    assert len((tmp_path / "samples/code.jsonl").read_text("utf-8").split("\n")) == len(rows) + 1
