"""The sweeper of `hydra/sweeper=search`: Optuna proposes trials, Hydra's launcher runs them, rung by rung.

What hydra-optuna-sweeper does not: a trial runs at rising budgets and is pruned between them, a failed trial does not
stop the others, and a killed search goes on. Every rung is a cell of the sweep, and so an ordinary run of the store.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from siftune.runs.build import ConfigError
from siftune.runs.searching.config import SWEEPER, search_config


class SearchSweeper(Sweeper):
    """Hands Hydra's launcher the runs of a search."""

    def __init__(self, **settings: Any) -> None:
        plain = {key: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for key, v in settings.items()}
        self._settings = search_config(plain)
        self._launched = 0

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra, once."""
        self._config, self._loader = config, hydra_context.config_loader
        self._launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Search, and say what was found."""
        from siftune.runs.search import Searcher, begin_search
        from siftune.runs.searching.report import show_search

        begun = begin_search(self._settings, arguments, self.compose, self._loader.list_groups(""))
        begun.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(begun.folder / "lock", timeout=1):
                search = Searcher(begun, self._settings, self._launch).run()
                show_search(search, begun.folder)
        except Timeout as error:
            raise ConfigError(f"the search {begun.folder.name} is being made by another process") from error
        return search

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config of a cell."""
        return self._loader.load_sweep_config(self._config, list(overrides))

    def _launch(self, cells: Sequence[Sequence[str]]) -> list[Path | str]:
        """What became of each cell: the folder of its record, or its error (runs/sweep.py)."""
        results = self._launcher.launch(cells, initial_job_idx=self._launched)
        self._launched += len(cells)
        return [result.return_value for result in results]


def register() -> None:
    """Make the sweeper known to Hydra, under a name of the one namespace that it takes plugins of."""
    module, _, SearchSweeper.__name__ = SWEEPER.rpartition(".")
    SearchSweeper.__module__ = module
    # Hydra looks the class up by its name once more.
    sys.modules[module] = sys.modules[__name__]
    Plugins.instance().register(SearchSweeper)
