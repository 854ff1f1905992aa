"""The shapes in which conversations are published, each read into messages.

| format | keys |
|---|---|
| messages (Tulu, OpenAI) | messages: [{role, content, ...}] |
| sharegpt (OpenHermes, WizardLM; MIG's pools) | conversations or dialogs: [{from, value} or {role, content}] |
| alpaca (Alpaca; Dolly) | instruction, input or context, output or response; history: [[question, answer], ...] |
| prompt_completion (TRL) | prompt, completion or response: strings, or lists of messages |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from siftune.selection.pool.rows import Message, says_something
from siftune.selection.pool.source import Format

RawRow = dict[str, Any]
Conversation = tuple[list[Message], set[str]]
"""The messages, and the keys of the row that they were read from."""

_ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "chatgpt", "bard", "bing", "function_call"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "function_response", "ipython"), "tool"),
}
"""`function` is a result (OpenAI's first tool calls), `function_call` the assistant's call (LLaMA-Factory)."""


class RowError(ValueError):
    """A row is not a conversation; the message is the reason, without the place, which the caller knows."""


def read_conversation(value: Any, format: Format = "auto") -> Conversation:
    """The messages of a raw row, in the given format or the first whose keys it has; RowError with the reason."""
    if not isinstance(value, dict):
        raise RowError(f"the row is {_kind(value)}, not an object")
    chosen = _detect(value) if format == "auto" else format
    if not _FORMATS[chosen][0](value):
        raise RowError(f"not in the format {chosen}, {_describe(value)}")
    messages, used = _FORMATS[chosen][1](value)
    if chosen != "messages":
        _prepend_system(value, messages, used)
    if not any(says_something(message) for message in messages):
        raise RowError("no assistant turn has text")
    return messages, used


def _detect(value: RawRow) -> str:
    for name, (applies, _) in _FORMATS.items():
        if applies(value):
            return name
    raise RowError(f"in no known format, {_describe(value)}")


def _describe(value: RawRow) -> str:
    keys = ", ".join(str(key) for key in value) or "none"
    return (
        f"its keys are: {keys}. Known formats: messages (messages), sharegpt (conversations or dialogs), "
        "alpaca (instruction, output or response), prompt_completion (prompt, completion or response)"
    )


def _first(value: RawRow, *keys: str) -> str | None:
    """The first of the keys that has a value: tables have every column in every row, null where it does not apply."""
    return next((key for key in keys if value.get(key) is not None), None)


def _messages(value: RawRow) -> Conversation:
    return _turns(value["messages"], "messages"), {"messages"}


def _sharegpt(value: RawRow) -> Conversation:
    key = _first(value, "conversations", "dialogs")
    assert key is not None
    return _turns(value[key], key), {key}


def _alpaca(value: RawRow) -> Conversation:
    """Instruction and input as one user turn with an empty line between, after the earlier turns in `history`."""
    given, answer = _first(value, "input", "context"), _first(value, "output", "response")
    assert answer is not None
    parts = [_string(value, key) for key in ("instruction", given) if key is not None]
    prompt = "\n\n".join(part for part in parts if part.strip())
    if not prompt:
        raise RowError("instruction and input are empty")
    messages = _history(value.get("history") or [])
    messages += [_message("user", prompt), _message("assistant", _string(value, answer))]
    return messages, {"instruction", "input", "history", answer} | ({given} if given else set())


def _history(pairs: Any) -> list[Message]:
    messages = []
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise RowError("history is not a list of [question, answer]")
        messages += [_message("user", pair[0]), _message("assistant", pair[1])]
    return messages


def _prompt_completion(value: RawRow) -> Conversation:
    answer = _first(value, "completion", "response")
    assert answer is not None
    messages = []
    for key, role in (("prompt", "user"), (answer, "assistant")):
        part = value[key]
        messages += _turns(part, key) if isinstance(part, list) else [_message(role, _string(value, key))]
    return messages, {"prompt", answer}


_FORMATS: dict[str, tuple[Callable[[RawRow], bool], Callable[[RawRow], Conversation]]] = {
    "messages": (lambda value: _first(value, "messages") is not None, _messages),
    "sharegpt": (lambda value: _first(value, "conversations", "dialogs") is not None, _sharegpt),
    "alpaca": (
        lambda value: _first(value, "instruction") is not None and _first(value, "output", "response") is not None,
        _alpaca,
    ),
    "prompt_completion": (
        lambda value: _first(value, "prompt") is not None and _first(value, "completion", "response") is not None,
        _prompt_completion,
    ),
}
"""Whether a row has the keys of the format, and how to read it; `auto` takes the first that fits."""


def _prepend_system(value: RawRow, messages: list[Message], used: set[str]) -> None:
    """OpenHermes and others keep the system turn in a column of its own."""
    key = _first(value, "system", "system_prompt")
    if key is not None and messages[0]["role"] != "system" and isinstance(value[key], str) and value[key].strip():
        messages.insert(0, _message("system", value[key]))
        used.add(key)


def _turns(turns: Any, key: str) -> list[Message]:
    if not isinstance(turns, list):
        raise RowError(f"{key} is {_kind(turns)}, not a list of turns")
    if not turns:
        raise RowError(f"{key} is empty")
    return [_turn(turn, f"{key}[{index}]") for index, turn in enumerate(turns)]


def _turn(turn: Any, where: str) -> Message:
    """One turn, with all that the data has besides role and text (name, tool_calls, ...) except nulls."""
    if not isinstance(turn, dict):
        raise RowError(f"{where} is {_kind(turn)}, not an object")
    role_key = _first(turn, "role", "from") or "role"
    text_key = _first(turn, "content", "value") or "content"
    role = turn.get(role_key)
    if not isinstance(role, str) or role.lower() not in _ROLES:
        raise RowError(f"{where} has the unknown role {role!r} (known: {', '.join(_ROLES)})")
    text = _text(turn.get(text_key), turn, where)
    rest = {key: item for key, item in turn.items() if key not in (role_key, text_key) and item is not None}
    return _message(_ROLES[role.lower()], text) | rest


def _text(content: Any, turn: RawRow, where: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_part(part, where) for part in content)
    if content is None and (turn.get("tool_calls") or turn.get("function_call")):
        return ""
    raise RowError(f"the content of {where} is {_kind(content)}, not a string")


def _part(part: Any, where: str) -> str:
    text = part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else part
    if not isinstance(text, str):
        raise RowError(f"the content of {where} has a part that is not text")
    return text


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _string(value: RawRow, key: str) -> str:
    text = value[key]
    if not isinstance(text, str):
        raise RowError(f"{key} is {_kind(text)}, not a string")
    return text


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), f"a value of type {type(value).__name__}")
