"""Handing a command over to Hydra, which composes its config, makes its cells and launches them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from siftune.finetune.process import prepare_process

_TAKES_A_VALUE = frozenset(
    f"{dashes}{name}"
    for dashes, names in (
        ("--", ("cfg", "package", "config-path", "config-name", "config-dir", "experimental-rerun", "info")),
        ("-", ("c", "p", "cp", "cn", "cd", "i")),
    )
    for name in names
)
"""Hydra's options that have a value after them."""


def options_first(arguments: Sequence[str]) -> list[str]:
    """Hydra's options before the overrides: its parser does not know overrides on both sides of an option."""
    options: list[str] = []
    overrides: list[str] = []
    for before, word in zip(["", *arguments], arguments, strict=False):
        is_value = before in _TAKES_A_VALUE and (before not in ("--info", "-i") or "=" not in word)
        (options if is_value or word.startswith("-") else overrides).append(word)
    return options + overrides


def run_hydra(config_name: str, act: Callable[[Mapping[str, Any]], Any], arguments: Sequence[str]) -> None:
    """Call `act` with the config that the arguments make of `config_name`, or with each cell's that they sweep."""
    import hydra
    from hydra.errors import CompactHydraException
    from omegaconf import DictConfig

    from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, plain_node
    from siftune.runs.searching.sweeper import register as register_search

    def task(config: DictConfig) -> Any:
        # Once more, as a launcher may have put the cell into a process of its own.
        prepare_process()
        try:
            return act(plain_node(config))
        except ValueError as error:
            # Hydra prints this class without a stack trace (HYDRA_FULL_ERROR=1 brings it back).
            raise CompactHydraException(refusal(error)) from error

    register_search()
    sys.argv = [sys.argv[0], *arguments]
    hydra.main(version_base=VERSION_BASE, config_path=f"pkg://{CONFIG_MODULE}", config_name=config_name)(task)()


def refusal(error: Exception) -> str:
    """What a person is told."""
    return f"siftune: {error}"
