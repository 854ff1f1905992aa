"""The stages that a command would pass, found by the code that runs them: only nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from siftune.runs.artifacts import Artifact, Stage, Store
from siftune.runs.config import ExperimentConfig, SignalsConfig
from siftune.runs.console import StageConsole
from siftune.runs.evaluating import suite_pools
from siftune.runs.experiment import begin, is_recorded
from siftune.runs.pending import UNKNOWN, NotComputedError, PendingArtifact
from siftune.runs.picking import select
from siftune.runs.run_contamination import contamination_stage
from siftune.runs.workspace import Workspace


@dataclass
class Passed:
    """A stage on a command's way."""

    stage: Stage
    folder: Path
    artifact: Artifact | None
    """The finished artifact; None where it has to be computed."""
    was_there: bool
    """Whether it was found, and not read for the plan."""
    unsure: bool
    """Whether its inputs, and so its fingerprint, depend on what an earlier stage will find."""
    cells: list[int] = field(default_factory=list)
    """Numbers of the cells that pass it."""


class PlanningWorkspace(Workspace):
    """Notes the stages that pass instead of computing them; pools alone are read: all else depends on their rows."""

    def __init__(self, root: Path, scratch: Path | None = None) -> None:
        """scratch: a folder for the pools that are read and are not there yet, in place of the store."""
        super().__init__(root, StageConsole(Console(quiet=True)))
        self.kept = self.store if scratch is None else Store(scratch)
        self.noted: dict[str, Passed] = {}
        self.undecided: set[str] = set()
        """Signals whose stages depend on what earlier ones will find; they are not noted."""
        self.cell = 0

    def ensure(self, stage: Stage, *, collective: bool = False) -> Artifact:
        """Note the stage."""
        if stage.fingerprint not in self.noted:
            was_there = self.store.find(stage) is not None
            artifact = self._read(stage) if stage.kind == "pool" else self.store.find(stage)
            unsure = self._is_unsure(stage)
            self.noted[stage.fingerprint] = Passed(stage, stage.folder(self.store.root), artifact, was_there, unsure)
        noted = self.noted[stage.fingerprint]
        if self.cell not in noted.cells:
            noted.cells.append(self.cell)
        return noted.artifact or PendingArtifact.of(stage, self.store.root)

    @contextmanager
    def looking(self, inputs: dict[str, str] | None = None, name: str = "") -> Iterator[None]:
        """Leave the block where it looks at what is not computed yet."""
        try:
            yield
        except NotComputedError:
            if inputs is not None and not any(key.partition("/")[0] == name for key in inputs):
                inputs[name] = UNKNOWN
                self.undecided.add(name)

    def _read(self, stage: Stage) -> Artifact:
        """Read a pool that is not there yet, to be seen while it lasts."""
        if found := self.store.find(stage):
            return found
        quiet, self.console = self.console, StageConsole()
        try:
            self.console.started(stage)
            return self.kept.ensure(stage)
        finally:
            self.console = quiet

    def _is_unsure(self, stage: Stage) -> bool:
        unsure = {fingerprint for fingerprint, noted in self.noted.items() if noted.unsure}
        return not unsure.isdisjoint(stage.inputs.values()) or UNKNOWN in stage.inputs.values()


def walk(config: SignalsConfig, workspace: PlanningWorkspace) -> Path | None:
    """Pass the stages of an experiment, or of a selection where the config has no more.

    Returns the folder that the experiment's record has, or will have if its stages find nothing that is not known yet.
    """
    if not isinstance(config, ExperimentConfig):
        select(config, workspace)
        return None
    experiment = begin(config, workspace)
    checkpoint = experiment.checkpoint_stage()
    evaluation = experiment.evaluation_stage(checkpoint)
    folder = experiment.run_key(checkpoint, evaluation).folder(workspace.store.root)
    # A run that is recorded computes nothing, even where its checkpoint was deleted since.
    recorded = is_recorded(folder, config)
    comparison = contamination_stage(config, experiment.subset, workspace)
    for stage in (checkpoint, comparison, evaluation):
        if stage is not None and not (recorded and workspace.store.find(stage) is None):
            if stage is evaluation:
                suite_pools(stage.config, workspace)
            workspace.ensure(stage)
    return folder
