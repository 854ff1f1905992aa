"""Which option of a config group comes nearest to a recorded value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from omegaconf import OmegaConf

from siftune.runs.build import TARGET

_GLOBAL = "# @package _global_"
_TARGET_OF_ALL = re.compile(rf"^{TARGET}: ([\w.]+)", re.MULTILINE)
_TARGETS = re.compile(rf"^\s*{TARGET}: ([\w.]+)", re.MULTILINE)


def place_of(key: str) -> str:
    """Where the option of `group@place` stands in the config."""
    group, _, place = key.lstrip("+").partition("@")
    return place or group.replace("/", ".")


def nearest_option(group: str, options: Sequence[str], current: str | None, value: Any) -> str | None:
    """The option whose YAML differs from the recorded value in the fewest entries, the current one among equals.

    An option of another class is none; where all are, the current one stays.
    """
    if value is None:
        return "none" if current is not None and "none" in options else current
    wanted = value.get("class") if isinstance(value, Mapping) else None
    alike = [option for option in options if not _is_of_another_class(_text(group, option), wanted)]
    distances = {option: _distance(_content(group, option), value) for option in alike}
    possible = [option for option in alike if distances[option] is not None]
    return min(possible, key=lambda option: (distances[option], option != current, option), default=current)


@cache
def class_paths() -> dict[str, str]:
    """Name of a class -> its path, of all that the shipped YAMLs name."""
    folders = [folder for folder in resources.files("siftune.conf").iterdir() if folder.is_dir()]
    files = [file for folder in folders for file in folder.iterdir() if file.name.endswith(".yaml")]
    paths = [path for file in files for path in _TARGETS.findall(file.read_text(encoding="utf-8"))]
    return {path.rpartition(".")[2]: path for path in paths}


def _is_of_another_class(text: str, wanted: str | None) -> bool:
    """Told without parsing the YAML, as most options of a group are."""
    found = _TARGET_OF_ALL.search(text)
    return found is not None and wanted is not None and found[1].rpartition(".")[2] != wanted


@cache
def _text(group: str, option: str) -> str:
    """The option's own YAML; nothing for one of a config folder of the user's own."""
    file = resources.files("siftune.conf").joinpath(f"{group}/{option}.yaml")
    return file.read_text(encoding="utf-8") if file.is_file() else ""


@cache
def _content(group: str, option: str) -> Any:
    """The option's own YAML, interpolations as they stand."""
    text = _text(group, option)
    content = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    return content.get(group) if isinstance(content, dict) and text.startswith(_GLOBAL) else content or None


def _distance(content: Any, value: Any) -> int | None:
    """In how many entries they differ; None where they are no two of a kind."""
    if content is None:
        return None
    if not isinstance(content, Mapping) or not isinstance(value, Mapping):
        return 0 if content == value else 1
    target = content.get(TARGET)
    if target is not None and str(target).rpartition(".")[2] != value.get("class"):
        return None
    own = {key: item for key, item in content.items() if key not in (TARGET, "defaults") and not _is_open(item)}
    total = sum(_between(item, value.get(key)) for key, item in own.items())
    return total + sum(key not in content for key in value if key != "class" and "class" not in value)


def _between(item: Any, recorded: Any) -> int:
    distance = _distance(item, recorded) if item is not None else int(recorded is not None)
    # Another class inside weighs more than another number.
    return 10 if distance is None else distance


def _is_open(item: Any) -> bool:
    """Left to the user, or taken from elsewhere in the config."""
    return isinstance(item, str) and (item == "???" or "${" in item)
