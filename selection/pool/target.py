"""What a subset is selected for: target tasks, each given by a few example rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from siftune.selection.pool.source import PoolSource


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    """The target tasks of an experiment; without one, only methods that need no target can run."""

    tasks: Mapping[str, PoolSource] = field(default_factory=dict)
    """Task name -> where its query rows come from, e.g. a file, or a slice of a benchmark's train or dev split."""
    match: str = "source"
    """The pool's column that is compared with the task names, to report the share of target rows among the picks."""
