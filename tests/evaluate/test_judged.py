"""Judged tasks without a model or a server: questions, requests, verdicts, values."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from siftune.evaluate.alpaca_eval import AlpacaEval
from siftune.evaluate.judge_words import messages_of, rating
from siftune.evaluate.judged import Ask, Judge, Judged, Question
from siftune.evaluate.mt_bench import RATING, MTBench
from siftune.evaluate.results import TaskResult, suite_result
from siftune.evaluate.tasks import EvaluationError
from siftune.evaluate.wildbench import SCORE, WildBench
from siftune.finetune.decoding import Decoding
from siftune.selection.features.endpoint.endpoint import Endpoint
from siftune.selection.features.endpoint.endpoint_replies import Reply

COMMON: dict[str, Any] = {"judge": Judge(endpoint=Endpoint(model="m")), "decoding": Decoding(max_new_tokens=8)}
ASK = Ask(())


def mt_bench(**fields: Any) -> MTBench:
    templates = {"template": "Plain {conversation}", "reference_template": "Math {conversation} | {reference}"}
    return MTBench(**COMMON | templates | fields)


def alpaca(**fields: Any) -> AlpacaEval:
    return AlpacaEval(**COMMON | {"template": "{instruction}: {output_1} or {output_2}"} | fields)


def wildbench(**fields: Any) -> WildBench:
    return WildBench(**COMMON | {"template": "{history}|{query}|{answer}|{checklist}"} | fields)


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("text", "pattern", "value"),
    [
        ("Good. Rating: [[7]]", RATING, 7.0), ("[[8.5]]", RATING, 8.5), ("[[10]] I say [[10]]", RATING, 10.0),
        ('```json\n{"score": "6"}\n```', SCORE, 6.0), ('{"strengths": "a", "score": 9}', SCORE, 9.0),
    ],
)  # fmt: skip
def test_ratings_are_read(text: str, pattern: str, value: float) -> None:
    assert rating(Reply(text, cut=False), pattern) == value


@pytest.mark.parametrize(
    ("text", "pattern", "why"),
    [
        ("Rating: 7", RATING, "no verdict"), ("[[7]] or rather [[8]]", RATING, "several verdicts"),
        ("[[0]]", RATING, "0 is not from 1 to 10"), ("[[11]]", RATING, "11 is not from 1 to 10"),
        ("[[N]]", RATING, "no verdict"), ("", RATING, "no verdict"), ('{"score": "N"}', SCORE, "no verdict"),
        ("score: 7", SCORE, "no verdict"), ('{"score": "1', SCORE, "no verdict"), ('{"score": 1', SCORE, "no verdict"),
        ('{"score": "7/10"}', SCORE, "no verdict"),
    ],
)  # fmt: skip
def test_what_is_no_rating_says_why(text: str, pattern: str, why: str) -> None:
    found = rating(Reply(text, cut=False), pattern)
    assert isinstance(found, str)
    assert why in found


@pytest.mark.parametrize(
    ("text", "value"),
    [("[7]", 7.0), ("As in [1] and [2]: [[7]]", 7.0), ("[1] and [2]", "several verdicts"), ("7", "no")],
)
def test_mt_bench_reads_single_brackets_where_there_are_no_double_ones(text: str, value: float | str) -> None:
    found = mt_bench().verdict(Reply(text, cut=False), ASK)
    assert found == value if isinstance(value, float) else str(found).startswith(value)


def test_second_turn_is_judged_with_the_first_and_references_where_there_are_some() -> None:
    row = {"question_id": 1, "category": "math", "turns": ["1+1?", "And 2+2?"], "reference": ["2", "4"]}
    task = mt_bench()
    asks = task.asks(task.question_of(row, 0), ["two", "five"])
    first, second = (ask.messages[0]["content"] for ask in asks)
    assert first == "Math ### User\n1+1?\n\n### Assistant\ntwo | ### User\n1+1?\n\n### Reference\n2"
    assert second.endswith(
        "### Assistant\nfive | ### User\n1+1?\n\n### Reference\n2\n\n### User\nAnd 2+2?\n\n### Reference\n4"
    )
    other = task.question_of(row | {"category": "writing"}, 0)
    assert task.asks(other, ["two", "five"])[0].messages[0]["content"].startswith("Plain ### User")
    del row["reference"]
    assert task.question_of(row, 0).material == ()


def test_mt_bench_averages_all_answers_and_leaves_out_those_without_a_verdict() -> None:
    def judged(category: str, *verdicts: float | str) -> Judged:
        return Judged(Question(category, category, ("a", "b")), ("x", "y"), verdicts)

    found = mt_bench().outcome(
        [judged("math", 2.0, 4.0), judged("stem", 9.0, "no verdict"), judged("roleplay", "?", "?")]
    )
    assert found.value == 5.0
    assert found.share == 0.5
    assert found.values == (3.0, 9.0, None)
    assert found.details == {"turn_1": 5.5, "turn_2": 4.0, "category.math": 3.0, "category.stem": 9.0}
    # Ratio of sums over two questions: residuals 6 - 5 * 2 = -4 and 9 - 5 * 1 = 4; sqrt(32 * 2) / 3.
    assert found.stderr == pytest.approx(8 / 3)


def test_temperature_is_the_categorys() -> None:
    task = mt_bench(temperatures={"writing": 0.7})
    assert [task.temperature_of(Question("1", name, ("x",))) for name in ("writing", "math")] == [0.7, 0.0]


def test_wildbench_is_rescaled_and_normalised_as_mig_does() -> None:
    task = wildbench()
    turns = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}, {"role": "user", "content": "C"}]
    question = task.question_of(
        {"id": 3, "conversation_input": turns, "checklist": ["x", "y"], "primary_tag": "Math"}, 0
    )
    assert question.history == tuple(turns[:2])
    assert task.asks(question, ["D"])[0].messages[0]["content"] == "### User\nA\n\n### Assistant\nB|C|D|- x\n- y"
    found = task.outcome(
        [Judged(question, ("D",), (7.0,)), Judged(question, ("D",), (4.0,)), Judged(question, ("D",), ("?",))]
    )
    assert found.value == 10.0
    assert found.stderr == pytest.approx(30.0)
    assert found.share == pytest.approx(0.55)
    assert found.values == (40.0, -20.0, None)
    assert found.details == {"mean_rating": 5.5, "category.Math": 10.0}


def test_average_is_migs() -> None:
    """AlpacaEval 14.66, MT-Bench 7.32 and WildBench -17.77 make 42.99: MIG's row of MIG's main table."""

    def result(name: str, value: float, share: float | None = None) -> TaskResult:
        return TaskResult(
            name=name, metric="m", value=value, stderr=None, higher_is_better=True, samples=1, share=share
        )

    tasks = {
        "alpaca_eval": result("alpaca_eval", 0.1466),
        "mt_bench": result("mt_bench", 7.32, 0.732),
        "wildbench": result("wildbench", -17.77, (-17.77 + 100) / 200),
    }
    found = suite_result(tasks, ())
    assert found.headline is not None
    assert found.headline.tasks == ("alpaca_eval", "mt_bench", "wildbench")
    assert round(100 * found.headline.value, 2) == 42.99
    assert TaskResult.from_json("mt_bench", tasks["mt_bench"].to_json()) == tasks["mt_bench"]


def test_preference_is_the_probability_of_the_second_name() -> None:
    task, likely = alpaca(), {"M": math.log(0.6), "m": math.log(0.2), "Both": math.log(0.1)}
    assert task.verdict(Reply("M", False, likely), Ask((), swapped=False)) == pytest.approx(0.75)
    assert task.verdict(Reply("M", False, likely), Ask((), swapped=True)) == pytest.approx(0.25)
    assert "no verdict among" in str(task.verdict(Reply("x", False, {"x": -0.1}), ASK))
    assert "preference=binary" in str(task.verdict(Reply("M", False), ASK))


@pytest.mark.parametrize(("text", "value"), [("m", 0.0), (" M\n", 1.0), ("'M'.", 1.0)])
def test_binary_preference_is_the_reply(text: str, value: float) -> None:
    assert alpaca(preference="binary").verdict(Reply(text, False), ASK) == value


@pytest.mark.parametrize("text", ["", "Mm", "The answer of m", "A"])
def test_other_replies_are_no_preference(text: str) -> None:
    assert "no verdict" in str(alpaca(preference="binary").verdict(Reply(text, False), ASK))


def test_both_orders_are_asked_and_averaged() -> None:
    task = alpaca(order="both", measure="win_rate")
    question = Question("0", "all", ("Why?",), material=("theirs",))
    asks = task.asks(question, ["mine"])
    assert [ask.messages[0]["content"] for ask in asks] == ["Why?: theirs or mine", "Why?: mine or theirs"]
    assert [ask.swapped for ask in asks] == [False, True]
    assert task.asks(question, ["theirs"]) == []
    found = task.outcome(
        [
            Judged(question, ("mine",), (1.0, 0.5)),
            Judged(question, ("mine",), (1.0, "no verdict")),
            Judged(question, ("theirs",), ()),
        ]
    )
    assert found.values == (0.75, None, 0.5)
    assert found.value == found.share == 0.625
    assert found.details["wins"] == found.details["draws"] == 1


def test_texts_that_look_like_slots_are_left_as_they_are() -> None:
    (message,) = messages_of(
        "{instruction}/{output_1}/{output_2}", instruction="{output_1}", output_1="a", output_2="b"
    )
    assert message["content"] == "{output_1}/a/b"
    marked = "<|im_start|>system\nBe fair.\n<|im_end|>\n<|im_start|>user\nQ: {instruction}\n<|im_end|>"
    assert messages_of(marked, instruction="why") == (
        {"role": "system", "content": "Be fair."},
        {"role": "user", "content": "Q: why"},
    )


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"question_id": 1, "category": "a", "turns": [turn]} for turn in "xy"], "same id"),
        ([{"question_id": 1, "turns": ["x"]}], "row 1 has no 'category'"),
        ([{"question_id": 1, "category": "a", "turns": [" "]}], "row 1 asks nothing"),
        ([[1]], "row 1: not an object"),
        ([], "holds no question"),
    ],
)  # fmt: skip
def test_files_that_hold_no_questions_are_refused(rows: list[Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=words):
        mt_bench(data=write(tmp_path / "questions.jsonl", rows)).check(None)


def test_data_that_is_not_there_is_said() -> None:
    with pytest.raises(EvaluationError, match=r"mt_bench_questions\.jsonl by evaluate\.data_dir"):
        mt_bench().check(None)
    with pytest.raises(EvaluationError, match=r"no/such\.jsonl .*cannot be read"):
        mt_bench(data="no/such.jsonl").check(None)
    with pytest.raises(EvaluationError, match=r"where the hub cannot be reached, give the path"):
        alpaca(data="hub:nobody/nothing/alpaca_eval.json", measure="win_rate").check(None)
    with pytest.raises(EvaluationError, match=r"lacks \{conversation\}"):
        mt_bench(template="Rate it.")
    with pytest.raises(EvaluationError, match=r"package no_such_package is not installed"):
        mt_bench(template="package:no_such_package/x.txt").filled_template()


def test_a_folder_stands_for_the_hub() -> None:
    task = alpaca(data="hub:a/b/alpaca_eval_gpt4_baseline.json", gamed="hub:a/b/df_gamed.csv").in_folder("data")
    assert (task.data, task.gamed) == ("data/alpaca_eval_gpt4_baseline.json", "data/df_gamed.csv")
    assert alpaca(data="mine.json").in_folder("data").data == "mine.json"
    assert mt_bench().in_folder("data").data == "data/mt_bench_questions.jsonl"


def test_too_few_questions_for_a_regression_are_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "a.jsonl", [{"instruction": f"Say {i}", "output": "x"} for i in range(9)])
    alpaca(data=data).check(None)
    with pytest.raises(EvaluationError, match="at least 5 questions, not 4"):
        alpaca(data=data).check(4)
    alpaca(data=data, measure="win_rate").check(4)


def test_real_questions_are_read(shared: Path) -> None:
    task = mt_bench(data=str(shared / "benchmarks" / "mt_bench_questions.jsonl"))
    questions = task.questions(None)
    assert len(questions) == 80
    assert sum(bool(question.material) for question in questions) == 29
    assert len([ask for one in questions for ask in task.asks(one, ["x", "y"])]) == 160
