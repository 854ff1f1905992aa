"""The typed config of `siftune runs`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["done", "failed", "running", "unfinished", "stale"]
RELAUNCHED: dict[str, tuple[str, ...]] = {
    "failed": ("failed",),
    "unfinished": ("unfinished",),
    "stale": ("stale",),
    "all": ("failed", "unfinished", "stale"),
}
"""Value of `relaunch` -> the states of the runs that it starts again."""


@dataclass(frozen=True, kw_only=True)
class RunsConfig:
    """Which runs of a store to list, to compare or to start again."""

    store: Path = Path("siftune-store")
    """Folder of the artifacts whose runs are listed."""
    group: str | None = None
    """Only the runs of this group; null: all."""
    label: str | None = None
    """Only the runs whose label is this, or fits this pattern (rds*); null: all."""
    seed: int | None = None
    """Only the runs of this seed; null: all."""
    state: State | None = None
    """Only the runs that are done, failed, running, unfinished (killed or interrupted) or stale; null: all."""
    stale: bool = False
    """Whether to find out which runs are stale: the same config would be another run today, as the code of a stage, its
    settings or its input files have changed since. It takes about a second a run; state=stale and relaunch=stale do."""
    compare: tuple[str, ...] = ()
    """The beginnings of the ids of two runs or more: what differs in their configs, side by side."""
    relaunch: str | None = None
    """Start again, of the runs that are listed, those that are failed, unfinished, stale, or all three (all); or one
    run, by the beginning of its id."""
    dry_run: bool = False
    """Whether `relaunch` only shows what it would start."""
    format: Literal["table", "json"] = "table"
    """A table for the terminal, or JSON."""

    def __post_init__(self) -> None:
        if len(self.compare) == 1:
            raise ValueError(f"compare=[{self.compare[0]}] names one run: it takes two or more")
        if self.compare and self.relaunch is not None:
            raise ValueError("compare and relaunch are two things to do: give one")
        if self.dry_run and self.relaunch is None:
            raise ValueError("dry_run=true shows what relaunch would start: give relaunch=failed, or the like")

    @property
    def finds_stale(self) -> bool:
        """Whether it matters here which runs are stale."""
        return self.stale or self.state == "stale" or "stale" in RELAUNCHED.get(self.relaunch or "", ())
