"""The typed config of `siftune export`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What to export, and where to."""

    store: Path = Path("siftune-store")
    """Folder of the artifacts that the run or the subset is in."""
    run: str | None = None
    """A recorded run, by the beginning of its fingerprint."""
    label: str | None = None
    """A recorded run by its label; with `seed` and `group` where several have it."""
    seed: int | None = None
    """The seed of the run that `label` names."""
    group: str | None = None
    """The group of the run that `label` names."""
    subset: Path | None = None
    """The folder of a subset, as `siftune select` writes it, instead of a run."""
    output: Path
    """The folder to write: dataset/ and, of a run, model/."""
    what: Literal["all", "dataset", "model"] = "all"
    """The subset and the model trained on it, or one of the two."""
    format: Literal["jsonl", "parquet"] = "jsonl"
    """Of the data: JSON lines (which siftune reads again as a subset) or Parquet."""
    license_column: str = "license"
    """The column of the pool that names a row's licence; with dots inside a nested one, e.g. metadata.license."""
    overwrite: bool = False
    """Whether an earlier export in `output` is replaced."""
    push: str | None = None
    """Upload to the hub under this name (owner/name); null: nothing leaves this machine."""
    private: bool = True
    """Whether what is uploaded can be seen by its owner alone."""

    def __post_init__(self) -> None:
        if [self.run, self.label, self.subset].count(None) != 2:
            raise ValueError(
                "name one thing to export: run=FINGERPRINT (the beginning will do), label=LABEL, or subset=FOLDER "
                "(`siftune runs` lists the runs of a store)"
            )
        if self.label is None and (self.seed is not None or self.group is not None):
            raise ValueError("seed and group say which of the runs of a label is meant: give label too")
        if self.subset is not None and self.what == "model":
            raise ValueError(f"subset={self.subset} has no model: what=model takes a run (run=... or label=...)")
        if self.push is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.push):
            raise ValueError(f"push={self.push} is no name on the hub: owner/name is one, e.g. push=my-org/my-subset")
