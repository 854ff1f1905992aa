from __future__ import annotations

from typing import Any

import pytest

from siftune.selection.pool.formats import RowError, read_conversation

TURNS = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("value", "messages", "used"),
    [
        ({"messages": TURNS, "prompt": "2+2?"}, TURNS, {"messages"}),
        (
            {"conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]},
            TURNS,
            {"conversations"},
        ),
        ({"dialogs": TURNS, "_id": "7"}, TURNS, {"dialogs"}),
        ({"messages": None, "conversations": TURNS}, TURNS, {"conversations"}),
        ({"instruction": "2+2?", "input": "", "output": "4"}, TURNS, {"instruction", "input", "output", "history"}),
        ({"instruction": "2+2?", "output": "4"}, TURNS, {"instruction", "input", "output", "history"}),
        ({"prompt": "2+2?", "completion": "4"}, TURNS, {"prompt", "completion"}),
        ({"prompt": "2+2?", "response": "4"}, TURNS, {"prompt", "response"}),
        ({"prompt": TURNS[:1], "completion": TURNS[1:]}, TURNS, {"prompt", "completion"}),
        (
            {"instruction": "2+2?", "context": None, "response": "4"},
            TURNS,
            {"instruction", "input", "response", "history"},
        ),
    ],
)
def test_every_format_gives_the_same_messages(value: dict[str, Any], messages: list[Any], used: set[str]) -> None:
    assert read_conversation(value) == (messages, used)


def test_alpaca_joins_instruction_and_input() -> None:
    messages, _ = read_conversation({"instruction": "Translate.", "input": "Hallo", "output": "Hello"})
    assert messages[0]["content"] == "Translate.\n\nHallo"


def test_alpaca_keeps_earlier_turns_in_order() -> None:
    messages, _ = read_conversation({"instruction": "And 3+3?", "output": "6", "history": [["2+2?", "4"]]})
    assert messages == [*TURNS, {"role": "user", "content": "And 3+3?"}, {"role": "assistant", "content": "6"}]


@pytest.mark.parametrize("key", ["system", "system_prompt"])
def test_a_system_column_becomes_the_first_turn(key: str) -> None:
    messages, used = read_conversation({"conversations": TURNS, key: "Be brief."})
    assert (messages, used) == ([SYSTEM, *TURNS], {"conversations", key})


def test_a_system_turn_is_not_doubled() -> None:
    messages, used = read_conversation({"conversations": [SYSTEM, *TURNS], "system": "Another."})
    assert (messages, used) == ([SYSTEM, *TURNS], {"conversations"})


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("developer", "system"),
        ("Human", "user"),
        ("model", "assistant"),
        ("function_call", "assistant"),
        ("function", "tool"),
        ("observation", "tool"),
        ("tool", "tool"),
    ],
)
def test_roles_go_by_many_names(name: str, role: str) -> None:
    messages, _ = read_conversation({"messages": [*TURNS, {"role": name, "content": "x"}]})
    assert messages[-1] == {"role": role, "content": "x"}


def test_tool_turns_keep_what_they_carry() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": {"b": 2, "a": 2}}}
    given = [
        TURNS[0],
        {"role": "assistant", "content": None, "tool_calls": [call], "name": None},
        {"role": "tool", "content": "4", "tool_call_id": "c1", "name": "add"},
        TURNS[1],
    ]
    messages, _ = read_conversation({"messages": given})
    assert messages == [TURNS[0], {"role": "assistant", "content": "", "tool_calls": [call]}, *given[2:]]
    assert list(messages[1]["tool_calls"][0]["function"]["arguments"]) == ["b", "a"]


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "2+"}, "2?"]
    messages, _ = read_conversation({"messages": [{"role": "user", "content": parts}, TURNS[1]]})
    assert messages == TURNS


def test_a_trailing_user_turn_survives() -> None:
    given = [*TURNS, {"role": "user", "content": "Thanks"}]
    assert read_conversation({"messages": given})[0] == given


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1], "the row is a list, not an object"),
        ({"text": "hello", "meta": 1}, "in no known format, its keys are: text, meta. Known formats: messages"),
        ({}, "its keys are: none"),
        ({"messages": []}, "messages is empty"),
        ({"messages": "hi"}, "messages is a string, not a list of turns"),
        ({"messages": [*TURNS, "hi"]}, r"messages\[2\] is a string, not an object"),
        (
            {"messages": [{"role": "wizard", "content": "x"}]},
            r"messages\[0\] has the unknown role 'wizard' \(known: system",
        ),
        ({"messages": [{"content": "x"}]}, r"messages\[0\] has the unknown role None"),
        (
            {"messages": [TURNS[0], {"role": "assistant", "content": 4}]},
            r"content of messages\[1\] is a value of type int",
        ),
        ({"messages": [TURNS[0], {"role": "assistant", "content": None}]}, r"content of messages\[1\] is null"),
        (
            {"messages": [TURNS[0], {"role": "assistant", "content": None, "tool_calls": []}]},
            r"content of messages\[1\] is null",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            r"messages\[0\] has a part that is not text",
        ),
        ({"messages": TURNS[:1]}, "no assistant turn has text"),
        ({"messages": [TURNS[0], {"role": "assistant", "content": " \n"}]}, "no assistant turn has text"),
        ({"instruction": " ", "input": "", "output": "4"}, "instruction and input are empty"),
        ({"instruction": "2+2?", "output": ["4"]}, "output is a list, not a string"),
        ({"instruction": "2+2?", "output": ""}, "no assistant turn has text"),
        ({"instruction": "2+2?", "output": "4", "history": ["x"]}, r"history is not a list of \[question, answer\]"),
        ({"prompt": 3, "completion": "4"}, "prompt is a value of type int, not a string"),
    ],
)
def test_a_row_that_is_no_conversation_is_refused_with_the_reason(value: Any, reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        read_conversation(value)


def test_a_given_format_is_not_guessed() -> None:
    both = {"messages": TURNS, "prompt": "3+3?", "completion": "6"}
    assert read_conversation(both, "prompt_completion")[0][1]["content"] == "6"
    with pytest.raises(RowError, match="not in the format alpaca, its keys are: messages, prompt"):
        read_conversation(both, "alpaca")
