"""From a composed Hydra config to typed objects; whatever is wrong is refused here, before any compute.

OmegaConf's structured configs know neither `Literal` nor a field that may hold one of several classes, and siftune's
configs need both, so fields are checked by pydantic against their annotations.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import inspect
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

TARGET = "_target_"


class ConfigError(ValueError):
    """A config that siftune refuses; the message names the key, what was given and what is allowed."""


def build(cls: type, node: Mapping[str, Any], key: str = "") -> Any:
    """An instance of the dataclass `cls` from `node`, whose place in the config is `key`; ConfigError otherwise."""
    hints = _hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    given = {name: value for name, value in node.items() if name != TARGET}
    for name in given:
        if name not in fields:
            raise ConfigError(unknown(_join(key, name), name, fields, "key"))
    for name, field in fields.items():
        if name not in given and _has_no_default(field):
            raise ConfigError(f"{_join(key, name)} is missing: give it a value ({_spell(hints[name])})")
    values = {name: convert(value, hints[name], _join(key, name)) for name, value in given.items()}
    try:
        return cls(**values)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{key or 'the config'}: {error}") from error


def convert(value: Any, hint: Any, key: str) -> Any:
    """`value` as the annotation `hint` wants it: nested dataclasses and `_target_` nodes are built."""
    if value == "???":
        raise ConfigError(f"{key} must be given a value: add {key}=... to the command line")
    if isinstance(value, Mapping) and TARGET in value:
        return _checked(build(resolve(value[TARGET], key), value, key), hint, key)
    options = union_members(hint)
    if value is None and type(None) in options:
        return None
    if any(_is_open(option) for option in options):
        raise ConfigError(f"{key}={value!r}: an option of a config group, with a {TARGET}, is expected here")
    classes = [option for option in options if dataclasses.is_dataclass(option)]
    if isinstance(value, Mapping) and classes:
        return build(typing.cast(type, classes[0]), value, key)
    mappings = [option for option in options if get_origin(option) in (Mapping, dict)]
    if isinstance(value, Mapping) and mappings:
        item = get_args(mappings[0])[1]
        return {str(name): convert(element, item, _join(key, str(name))) for name, element in value.items()}
    return _plain(value, hint, key)


def resolve(target: Any, key: str) -> type:
    """The class that a `_target_` names."""
    module_name, _, name = str(target).rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{_join(key, TARGET)}={target} cannot be imported: {error}") from error
    cls = getattr(module, name, None)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        known = [name for name, item in vars(module).items() if dataclasses.is_dataclass(item)]
        raise ConfigError(unknown(f"{_join(key, TARGET)}={target}", name, known, f"dataclass of {module_name}"))
    return cls


def unknown(what: str, name: str, allowed: Iterable[str], noun: str) -> str:
    """The message for a name that is not one of `allowed`, with the nearest one suggested."""
    names = sorted(allowed)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{what}: there is no such {noun}.{hint} Allowed: {', '.join(names) or 'none'}."


def union_members(hint: Any) -> list[Any]:
    """The alternatives of an annotation: both of `A | B`, else the annotation itself."""
    return list(get_args(hint)) if get_origin(hint) in (typing.Union, types.UnionType) else [hint]


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _plain(value: Any, hint: Any, key: str) -> Any:
    literals = [
        choice for option in union_members(hint) if get_origin(option) is typing.Literal for choice in get_args(option)
    ]
    if literals and isinstance(value, str) and value not in literals:
        raise ConfigError(unknown(f"{key}={value}", value, [str(choice) for choice in literals], "choice"))
    try:
        checked = TypeAdapter(hint).validate_python(tuple(value) if _is_list(value) else value)
    except ValidationError as error:
        problem = "; ".join(sorted({item["msg"] for item in error.errors()}))
        raise ConfigError(f"{key}={value!r} is not of the type {_spell(hint)}: {problem}") from error
    if isinstance(value, bool) != isinstance(checked, bool):
        raise ConfigError(f"{key}={value!r} is not of the type {_spell(hint)}")
    return checked


def _checked(built: Any, hint: Any, key: str) -> Any:
    for option in union_members(hint):
        if option is Any or (isinstance(option, type) and isinstance(built, option)):
            return built
    raise ConfigError(f"{key}: {type(built).__name__} cannot stand here; expected {_spell(hint)}")


def _is_open(option: Any) -> bool:
    """Whether only a `_target_` can say which class is meant: a protocol or an abstract class."""
    # Python 3.10 takes Mapping[str, X] for an abstract class.
    is_class = isinstance(option, type) and get_origin(option) is None
    return is_class and (getattr(option, "_is_protocol", False) or inspect.isabstract(option))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _spell(hint: Any) -> str:
    if isinstance(hint, type) and not get_args(hint):
        return hint.__name__
    return str(hint).replace("typing.", "").replace("collections.abc.", "")


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
