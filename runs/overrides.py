"""Two configs compared, and the difference spelt as overrides in Hydra's grammar."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from siftune.runs.build import TARGET

_BARE = re.compile(r"[A-Za-z_./][\w./-]*")
_WORDS = frozenset({"true", "false", "null", "none", "yes", "no", "on", "off", "nan", "inf"})
CLASS = "class"
"""Key under which a record names a typed config's class."""


def changes(node: Mapping[str, Any], wanted: Mapping[str, Any], classes: Mapping[str, str]) -> list[str]:
    """Overrides that turn a composed config into the recorded one, as far as the composed one has the keys."""
    return [change for key in wanted if key in node for change in _changes(node[key], wanted[key], key, classes)]


def differences(typed: Any, wanted: Any, key: str = "") -> dict[str, str]:
    """key -> the recorded value as spelt in an override, wherever a typed config in plain form differs from it."""
    if isinstance(typed, Mapping) and isinstance(wanted, Mapping):
        found: dict[str, str] = {}
        # A field that a record does not have is younger than the record.
        others = [] if CLASS in wanted or not key else [name for name in typed if name not in wanted]
        for name in [*wanted, *others]:
            place = f"{key}.{name}".lstrip(".")
            found |= differences(typed.get(name), wanted.get(name), place)
        return found
    return {} if _same(typed, wanted) else {key: spelt(wanted, {})}


def spelt(value: Any, classes: Mapping[str, str]) -> str:
    """A value in Hydra's override grammar."""
    if isinstance(value, Mapping):
        items = {(TARGET if name == CLASS else str(name)): item for name, item in value.items()}
        if CLASS in value:
            target = classes.get(value[CLASS])
            items = {key: item for key, item in items.items() if key != TARGET}
            items = ({TARGET: target} if target else {}) | items
        return "{" + ",".join(f"{key}:{spelt(item, classes)}" for key, item in items.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(spelt(item, classes) for item in value) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, int):
        return str(value)
    return _text(str(value))


def _changes(node: Any, wanted: Any, key: str, classes: Mapping[str, str]) -> Iterator[str]:
    if not (isinstance(node, Mapping) and isinstance(wanted, Mapping)):
        if not _same(node, wanted):
            yield f"{key}={spelt(wanted, classes)}"
        return
    if TARGET in node and str(node[TARGET]).rpartition(".")[2] != wanted.get(CLASS):
        yield f"{key}={spelt(wanted, classes)}"
        return
    for name in node:
        if name != TARGET and name in wanted:
            yield from _changes(node[name], wanted[name], f"{key}.{name}", classes)
        elif name != TARGET and CLASS not in wanted:
            yield f"~{key}.{name}"
    if CLASS not in wanted:
        yield from (f"+{key}.{name}={spelt(item, classes)}" for name, item in wanted.items() if name not in node)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    return bool(one == other)


def _text(text: str) -> str:
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    # A backslash counts only before a quote.
    escaped = re.sub(r'(\\*)"', lambda match: match[1] * 2 + '\\"', text)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f'"{escaped}{escaped[len(escaped) - trailing :]}"'
