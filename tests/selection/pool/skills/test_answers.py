"""The answers of the generated pool: right where they should be, wrong where they should be."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from siftune.selection.pool.skills.conversation import Conversation
from siftune.selection.pool.skills.numerals import from_roman, to_roman
from siftune.selection.pool.skills.patterns import examples
from siftune.selection.pool.skills.pool import SKILLS, SkillsPool
from siftune.selection.pool.skills.skill import Task, Turn, draw_turn, keyed_random
from siftune.selection.pool.skills.sql_check import run

TASKS = [(skill.name, task) for skill in SKILLS.values() for task in skill.tasks]


@pytest.fixture(scope="module")
def conversations() -> Sequence[Conversation]:
    return list(SkillsPool(size=2000).conversations())


def drawn(skill: str, task: str, count: int) -> list[Turn]:
    rng = keyed_random("test", skill, task)
    return [draw_turn(rng, SKILLS[skill], task) for _ in range(count)]


def test_every_answer_of_a_right_row_passes_the_independent_check(conversations: Sequence[Conversation]) -> None:
    checked = 0
    for conversation in conversations:
        if conversation.kind in ("clean", "near_duplicate"):
            for turn, answer in zip(conversation.turns, conversation.assistant, strict=True):
                assert turn.check(answer), (turn.skill.name, turn.task, turn.facts, answer)
                checked += 1
    assert checked > 1400


def test_every_answer_of_a_wrong_row_is_wrong(conversations: Sequence[Conversation]) -> None:
    wrong = [conversation for conversation in conversations if conversation.kind == "wrong"]
    assert len(wrong) > 150
    for conversation in wrong:
        for turn, answer in zip(conversation.turns, conversation.assistant, strict=True):
            assert answer.split() != turn.answer.split(), (turn.skill.name, turn.task, turn.facts)


@pytest.mark.parametrize(("skill", "task"), TASKS)
def test_the_check_accepts_the_truth_and_refuses_the_mistakes(skill: str, task: str) -> None:
    definition: Task = SKILLS[skill].tasks[task]
    for number, turn in enumerate(drawn(skill, task, 40)):
        assert turn.check(turn.answer), (turn.facts, turn.answer)
        mistake = definition.wrong(keyed_random(number), turn.facts)
        assert not passes(turn, mistake), (turn.facts, mistake)


def passes(turn: Turn, answer: str) -> bool:
    """A check may fail on what cannot even be parsed (no number, no date, no JSON): that is a refusal too."""
    try:
        return turn.check(answer)
    except (ValueError, ArithmeticError, KeyError):
        return False


@pytest.mark.parametrize("task", SKILLS["sql"].tasks)
def test_sql_answers_return_something_on_the_sample_rows(task: str) -> None:
    """A query whose result is always empty would pass any check."""
    assert sum(bool(run(turn.answer, turn.facts)) for turn in drawn("sql", task, 20)) >= 15


@pytest.mark.parametrize("task", SKILLS["sql"].tasks)
def test_sql_answers_change_with_the_question(task: str) -> None:
    answers = {turn.key: turn.answer for turn in drawn("sql", task, 60)}
    assert len(set(answers.values())) == len(answers)


def test_pattern_examples_lie_on_both_sides() -> None:
    for task in SKILLS["patterns"].tasks:
        good, bad = examples(task, drawn("patterns", task, 1)[0].facts)
        assert good
        assert len(bad) >= 3


@pytest.mark.parametrize(
    ("skill", "task", "facts", "answer"),
    [
        ("shell", "count_lines", {"path": "a/b.log"}, "wc --lines 'a/b.log'"),
        ("dates", "days_after", {"start": "2024-02-28", "count": 2}, "2024-03-01"),
        ("dates", "weekday", {"start": "2000-01-01"}, "Saturday"),
        ("dates", "between", {"start": "2023-12-30", "end": "2024-01-02"}, "3"),
        ("dates", "month_end", {"year": 2024, "month": 2}, "2024-02-29"),
        ("units", "length", {"source": "miles", "target": "kilometres", "amount": "10"}, "16.1 km"),
        ("units", "length", {"source": "inches", "target": "centimetres", "amount": "2.5"}, "6.4 cm"),
        ("arithmetic", "share", {"people": 4, "a": 11}, "2"),
        ("arithmetic", "change", {"price": 7, "a": 3, "note": 50}, "29"),
        ("lists", "unique", {"items": ["b", "a", "b"]}, "b, a"),
        ("lists", "every_second", {"items": ["a", "b", "c"]}, "a, c"),
        ("strings", "camel", {"text": "quiet river stone"}, "quietRiverStone"),
        ("strings", "initials", {"text": "Ana Costa Ruiz"}, "ACR"),
        ("numerals", "to_roman", {"number": 1994}, "MCMXCIV"),
        ("numerals", "to_base", {"number": 255, "base": 16}, "FF"),
        ("ranking", "nth_largest", {"items": [3, 9, 5], "position": 2}, "5"),
        ("patterns", "range", {"symbol": r"\d", "least": 2, "most": 5}, r"^\d{2,5}$"),
        ("tables", "most", {"columns": ["x", "y"], "column": "y", "rows": [["A", 9, 1], ["B", 2, 5]]}, "B"),
        ("extraction", "order", {"said": {"item": "mug", "quantity": 3}, "keys": ["quantity"]}, '{"quantity": 3}'),
    ],
)  # fmt: skip
def test_answers_worked_out_by_hand(skill: str, task: str, facts: dict[str, object], answer: str) -> None:
    assert SKILLS[skill].tasks[task].answer(facts) == answer


def test_roman_numerals_go_both_ways() -> None:
    assert all(from_roman(to_roman(number)) == number for number in range(1, 4000))
    assert [from_roman(text) for text in ("IIX", "VV", "IC", "ABC")] == [0, 0, 0, 0]
