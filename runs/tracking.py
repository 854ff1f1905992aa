"""One Weights & Biases run per experiment: config, stage timings, training curves, scores, artifacts with lineage.

The W&B run id is the experiment's fingerprint, so that an experiment that was killed and started again continues its
run. Offline, each start writes its own `offline-run-*` folder under that id, and `wandb sync` joins them in order of
time; history steps go on counting across starts (their last value is kept beside the folders), because W&B drops steps
that go back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from siftune.evaluate.results import TaskResult
from siftune.runs.distributed import is_main_process
from siftune.runs.tracking_config import TrackingConfig, redact
from siftune.runs.tracking_session import TrackingError, keep_files_in, start_run

if TYPE_CHECKING:
    import wandb

    from siftune.runs.refinement_report import RefinementReport
    from siftune.runs.tracking_callback import CurveCallback

__all__ = ["Tracker", "TrackingError"]

STAGE_COLUMNS = ["stage", "fingerprint", "seconds", "cached"]
CURVES = ("loss", "learning_rate", "grad_norm", "mean_token_accuracy", "epoch")
"""What a training step logs, under train/."""
TASK_COLUMNS = ["name", "metric", "value", "stderr", "higher_is_better", "samples"]
SOURCE_COLUMNS = ["source", "pool", "subset"]


class Tracker:
    """Follows one experiment; a context manager. With `mode=disabled` it does nothing and W&B is never imported.

    run_id: the experiment's fingerprint. group: the sweep's, unless the config names one. resolved: the whole config,
    from which secrets are redacted. folder: where W&B keeps its files. Of a distributed launch only the first process
    tracks. Raises TrackingError (online: no account, no connection)."""

    def __init__(
        self,
        config: TrackingConfig,
        run_id: str,
        name: str,
        group: str | None,
        resolved: Mapping[str, Any],
        folder: Path,
    ) -> None:
        self._run: wandb.Run | None = None
        self._artifacts: dict[str, wandb.Artifact] = {}
        self._used: set[str] = set()
        self._stages: list[list[Any]] = []
        if config.mode == "disabled" or not is_main_process():
            return
        self._environment = keep_files_in(folder)
        try:
            self._run = start_run(config, run_id, redact(name), redact(config.group or group), redact(resolved), folder)
        except BaseException:
            self._restore_environment()
            raise
        self._counter = folder / "steps" / f"{run_id}.txt"
        self._step = max(self._run.step, _read_counter(self._counter))
        self._is_new = self._step == 0

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(exit_code=0 if kind is None else 1)

    def stage(self, kind: str, fingerprint: str, seconds: float, cached: bool) -> None:
        """Note a finished stage; the stages become a table when the run finishes."""
        if self._run is None:
            return
        self._stages.append([kind, fingerprint, seconds, cached])
        spent = sum(row[2] for row in self._stages if row[0] == kind and not row[3])
        self._run.summary.update({f"seconds/{kind}": spent, f"fingerprint/{kind}": fingerprint})

    def training_callback(self) -> CurveCallback:
        """A transformers callback that logs loss, learning rate, gradient norm and tokens per second under train/."""
        from siftune.runs.tracking_callback import CurveCallback

        return CurveCallback(self._log)

    def found_curve(self, log: Iterable[Mapping[str, float]]) -> None:
        """Log the curve of a checkpoint that another experiment trained; a continued run has logged its own."""
        if self._run is None or not self._is_new:
            return
        for step in log:
            curves = {f"train/{name}": step[name] for name in CURVES if name in step}
            self._log({"train/step": step["step"], **curves})

    def evaluation(self, results: Iterable[TaskResult]) -> None:
        """Log each task's value under eval/, and all of them as a table."""
        if self._run is None:
            return
        rows = [[getattr(result, column) for column in TASK_COLUMNS] for result in results]
        scores = {f"eval/{row[0]}": row[TASK_COLUMNS.index("value")] for row in rows}
        self._log({**scores, "evaluation": _table(TASK_COLUMNS, rows)})

    def selection(self, summary: Mapping[str, Any]) -> None:
        """Log a summary of the picks: its numbers and names, and the source mixture of pool and subset as a table."""
        if self._run is None:
            return
        pool, subset = summary.get("sources_pool") or {}, summary.get("sources_subset") or {}
        plain = {f"selection/{key}": value for key, value in summary.items() if not isinstance(value, Mapping)}
        self._run.summary.update(redact(plain))
        if pool or subset:
            names = sorted({*pool, *subset})
            rows = [[name, pool.get(name, 0), subset.get(name, 0)] for name in names]
            self._log({"sources": _table(SOURCE_COLUMNS, redact(rows))})

    def refinement(self, report: RefinementReport, folder: Path) -> None:
        """Log the rounds of a refinement under refinement/: weights, what was dropped and why, the pictures.

        folder: where its files were written (runs/refinement_files.py)."""
        if self._run is None:
            return
        from siftune.runs.refinement_tracking import pictures, series, tables

        if self._is_new:
            for step in series(report):
                self._log({f"refinement/{name}": value for name, value in step.items()})
        found = {name: _table(columns, redact(rows)) for name, (columns, rows) in tables(report, folder).items()}
        last = {"round": len(report.rounds), **found, **pictures(folder)}
        self._log({f"refinement/{name}": value for name, value in last.items()})

    def artifact(
        self,
        kind: str,
        name: str,
        folder: Path,
        files: Sequence[Path],
        inputs: Sequence[str],
        metadata: Mapping[str, Any],
    ) -> None:
        """Declare an artifact of the run.

        With `files` (below `folder`, not copied: they must stay there until they are sent) it is an output, made from
        the artifacts named in `inputs`, each declared before. Without files it is something the run reads, known by its
        metadata alone (the pool, whose text never leaves the machine), and is linked when an output names it."""
        if self._run is None:
            return
        import wandb

        unknown = [other for other in inputs if other not in self._artifacts]
        assert not unknown, f"artifact {name} names inputs that were not declared before it: {unknown}"
        artifact = wandb.Artifact(
            _artifact_name(name),
            type=kind,
            metadata=redact({**metadata, "inputs": [_artifact_name(i) for i in inputs]}),
        )
        for file in files:
            path = folder / file
            artifact.add_file(str(path), name=path.relative_to(folder).as_posix(), skip_cache=True, policy="immutable")
        for other in inputs:
            self._use(other)
        if files:
            self._run.log_artifact(artifact)
        self._artifacts[name] = artifact

    def finish(self, exit_code: int = 0) -> None:
        """End the W&B run (again: nothing happens)."""
        if self._run is None:
            return
        if self._stages:
            self._log({"stages": _table(STAGE_COLUMNS, self._stages)})
        self._run.finish(exit_code=exit_code)
        self._run = None
        self._restore_environment()

    def _log(self, values: Mapping[str, Any]) -> None:
        if self._run is None:
            return
        _write_counter(self._counter, self._step + 1)
        self._run.log(dict(values), step=self._step, commit=True)
        self._step += 1

    def _use(self, name: str) -> None:
        if self._run is None or name in self._used:
            return
        self._used.add(name)
        if self._run.offline:
            # use_artifact refuses offline runs, although the run file can hold what it records: this is what it does
            # online with an artifact that is not committed yet.
            self._run._log_artifact(self._artifacts[name], is_user_created=True, use_after_commit=True)
        else:
            self._run.use_artifact(self._artifacts[name])

    def _restore_environment(self) -> None:
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _table(columns: Sequence[str | int], rows: list[list[Any]]) -> wandb.Table:
    import wandb

    return wandb.Table(columns=list(columns), data=rows, allow_mixed_types=True)


def _artifact_name(name: str) -> str:
    return re.sub(r"[^\w.\-]", "_", name)[:128]


def _read_counter(path: Path) -> int:
    return int(path.read_text()) if path.exists() else 0


def _write_counter(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(str(value))
    temporary.replace(path)
