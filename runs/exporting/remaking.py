"""Whether the command of a card makes the recorded subset again, as far as that can be told without computing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from siftune.runs.artifacts import Artifact, Stage
from siftune.runs.config import ExperimentConfig
from siftune.runs.experiment import begin
from siftune.runs.exporting.dataset_card import Remaking
from siftune.runs.exporting.sources import Exported
from siftune.runs.pending import NotComputedError
from siftune.runs.picking import select
from siftune.runs.planning.workspace import PlanningWorkspace
from siftune.runs.rebuild import Command, Rebuilt, rebuild


class _Looking(PlanningWorkspace):
    """Passes stages without reading so much as a pool."""

    def _read(self, stage: Stage) -> Artifact:
        if found := self.store.find(stage):
            return found
        raise NotComputedError(stage.kind)


def remaking(exported: Exported, command: Command, store: Path) -> tuple[Remaking, Rebuilt | None]:
    """The command for a card, and what was found out about it."""
    if exported.config is None:
        typed = " ".join(["siftune", *exported.record["argv"][1:]])
        return Remaking(text=typed, note="The command as it was typed: the whole config was not recorded."), None
    rebuilt = rebuild(exported.config, command)
    note = f"{_found_out(exported, rebuilt, store)} It is made in `siftune-store`, or where `store=` says."
    names = short_names(exported.config)
    if names:
        files = ", ".join(f"`{name}`" for name in sorted(set(names.values())))
        note += f" Start it in the folder that holds {files}."
    return Remaking(text=shortened(rebuilt.text, names), note=note), rebuilt


def short_names(config: Any) -> dict[str, str]:
    """Absolute path -> the name that stands for it where strangers read it; two of one name keep their folder's."""
    paths = set(_absolute(config))
    names = [Path(path).name for path in paths]
    return {
        path: path.strip("/").replace("/", "-") if names.count(Path(path).name) > 1 else Path(path).name
        for path in paths
        if Path(path).name
    }


def shortened(value: Any, names: Mapping[str, str]) -> Any:
    """A text, or a JSON-like value, with these paths shortened."""
    if isinstance(value, Mapping):
        return {key: shortened(item, names) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [shortened(item, names) for item in value]
    if isinstance(value, str):
        for path in sorted(names, key=len, reverse=True):
            value = value.replace(path, names[path])
    return value


def _absolute(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name not in ("store", "output", "tracking"):
                yield from _absolute(item, str(name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _absolute(item, key)
    elif isinstance(value, str) and Path(value).is_absolute():
        yield value


def _found_out(exported: Exported, rebuilt: Rebuilt, store: Path) -> str:
    if rebuilt.config is None or rebuilt.differs:
        reason = "; ".join(rebuilt.differs)
        return f"With this version of siftune the command does not compose to the recorded config ({reason})."
    made = _subset_of(rebuilt, store)
    if made is None:
        return "The command composes to the recorded config."
    if made == exported.fingerprint:
        return f"The command composes to the recorded config, and its subset has this one's fingerprint, `{made}`."
    return (
        f"The command composes to the recorded config, of which this version of siftune makes another subset, `{made}`:"
        " the version named above makes this one."
    )


def _subset_of(rebuilt: Rebuilt, store: Path) -> str | None:
    """The fingerprint of the subset that the command would make; None where the store does not tell."""
    workspace = _Looking(store)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            config = rebuilt.config
            assert config is not None
            if isinstance(config, ExperimentConfig):
                subset = begin(config, workspace).subset
            else:
                subset = select(config, workspace)
    except (NotComputedError, ValueError, OSError):
        return None
    unsure = workspace.undecided or any(noted.unsure for noted in workspace.noted.values())
    return None if unsure or subset is None else subset.artifact.fingerprint
