"""The options of the groups `selection` and `scorer` as they are shipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache
from importlib import resources
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from siftune.runs.build import TARGET, build, convert, resolve
from siftune.selection.features.scorers.scorer import Scorer


def shipped_selectors(cls: type | None = None) -> dict[str, Any]:
    """option -> its selector, of one class or of all; those that set other groups as well come last."""
    wanted = None if cls is None else f"{cls.__module__}.{cls.__qualname__}"
    return {
        name: build(resolve(node[TARGET], f"selection={name}"), node)
        for name, node in _options().items()
        if wanted in (None, node[TARGET])
    }


@cache
def shipped_scorers() -> dict[str, tuple[str, ...]]:
    """option -> the names of its scores, those with the fewest first."""
    files = (resources.files("siftune.conf") / "scorer").iterdir()
    options = sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))
    running = GlobalHydra.instance().is_initialized()
    with nullcontext() if running else initialize_config_module("siftune.conf", version_base="1.3"):
        config = compose("select", overrides=[f"+scorer@shipped.{option}={option}" for option in options])
    nodes = OmegaConf.to_container(config.shipped, resolve=True)
    assert isinstance(nodes, dict)
    provided = {str(name): _scorer(str(name), node).provides for name, node in nodes.items()}
    return dict(sorted(provided.items(), key=lambda item: len(item[1])))


@cache
def _options() -> dict[str, dict[str, Any]]:
    return {name: node for name, _, node in sorted(_nodes(), key=lambda item: (item[1], item[0]))}


def _nodes() -> Iterator[tuple[str, bool, dict[str, Any]]]:
    """(option, whether it sets other groups as well, the method's config)."""
    for file in (resources.files("siftune.conf") / "selection").iterdir():
        name, _, ending = file.name.rpartition(".")
        text = file.read_text(encoding="utf-8") if ending == "yaml" else ""
        content = OmegaConf.to_container(OmegaConf.create(text))
        assert isinstance(content, dict)
        # An option that sets other groups (its scorer, its encoder) has the method under `selection`.
        node = content.get("selection") or content
        if TARGET in node:
            yield name, node is not content, {str(key): value for key, value in node.items()}


def _scorer(option: str, node: dict[str, Any]) -> Scorer:
    scorer: Scorer = convert(_filled(node), Scorer, f"scorer={option}")
    return scorer


def _filled(node: Any) -> Any:
    """The config with something in place of what is left to the user."""
    if isinstance(node, dict):
        return {str(key): _filled(value) for key, value in node.items()}
    return "given" if node == "???" else node
