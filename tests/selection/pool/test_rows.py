from __future__ import annotations

import hashlib

import pytest

from siftune.selection.pool.rows import Row, row_id


def _turn(role: str, content: str, **rest: object) -> dict[str, object]:
    return {"role": role, "content": content, **rest}


def test_the_id_is_the_hash_of_the_canonical_conversation() -> None:
    expected = hashlib.sha256('[{"content":"Grüße","role":"user"}]'.encode()).hexdigest()[:20]
    assert row_id([_turn("user", "Grüße")]) == expected


def test_the_id_ignores_the_order_of_keys_and_nothing_else() -> None:
    messages = [_turn("user", "a"), _turn("assistant", "b")]
    assert row_id([dict(reversed(turn.items())) for turn in messages]) == row_id(messages)
    assert row_id(messages[::-1]) != row_id(messages)
    assert row_id([_turn("user", "a"), _turn("assistant", "b ")]) != row_id(messages)
    assert row_id([_turn("user", "a", name="x"), _turn("assistant", "b")]) != row_id(messages)


def test_prompt_and_response_split_at_the_final_assistant_turn() -> None:
    messages = [
        _turn("system", "s"),
        _turn("user", "1"),
        _turn("assistant", "2"),
        _turn("user", "3"),
        _turn("assistant", "4"),
    ]
    row = Row(id="x", source="s", messages=messages)
    assert row.prompt_messages() == messages[:4]
    assert row.response() == "4"


def test_a_trailing_user_turn_and_a_wordless_tool_call_are_no_response() -> None:
    messages = [
        _turn("user", "1"),
        _turn("assistant", "2"),
        _turn("user", "3"),
        _turn("assistant", "", tool_calls=[{}]),
    ]
    row = Row(id="x", source="s", messages=messages)
    assert (row.prompt_messages(), row.response()) == (messages[:1], "2")


def test_a_row_without_an_answer_says_so() -> None:
    with pytest.raises(ValueError, match="row x has no assistant turn"):
        Row(id="x", source="s", messages=[_turn("user", "1")]).response()
