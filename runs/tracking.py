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
from siftune.runs.tracker.charts import bars, length_lines, mixtures, table
from siftune.runs.tracker.config import TrackingConfig, redact
from siftune.runs.tracker.session import TrackingError, agents_run, keep_files_in, start_run

if TYPE_CHECKING:
    import numpy as np
    import wandb

    from siftune.runs.rounds.report import RefinementReport
    from siftune.runs.tracker.callback import CurveCallback

__all__ = ["Tracker", "TrackingError"]

COSTS = (
    "flops",
    "formula_flops",
    "tokens",
    "tokens_per_second",
    "peak_memory_bytes",
    "peak_gpu_bytes",
    "energy_joules",
)
"""What is told of a stage's cost (runs/spending.py)."""
STAGE_COLUMNS = ["stage", "fingerprint", "seconds", "cached", *COSTS]
CURVES = ("loss", "learning_rate", "grad_norm", "mean_token_accuracy", "epoch")
"""What a training step logs, under train/."""
TASK_COLUMNS = ["name", "metric", "value", "stderr", "higher_is_better", "samples"]
SOURCE_COLUMNS = ["source", "pool", "subset"]
HEADLINE_METRIC = "eval/headline"
"""What a sweep of W&B's goes by."""


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
        job_type: str = "experiment",
    ) -> None:
        self._run: wandb.Run | None = None
        self._artifacts: dict[str, wandb.Artifact] = {}
        self._used: set[str] = set()
        self._stages: list[list[Any]] = []
        if config.mode == "disabled" or not is_main_process():
            return
        self._environment = keep_files_in(folder)
        # An agent of a sweep of W&B's has given the run a name, by which it waits for the score.
        run_id = agents_run() or run_id
        try:
            shown, together = redact(name), redact(config.group or group)
            self._run = start_run(config, run_id, shown, together, redact(resolved), folder, job_type)
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

    def stage(
        self, kind: str, fingerprint: str, seconds: float, cached: bool, cost: Mapping[str, Any] | None = None
    ) -> None:
        """Note a finished stage; the stages become a table when the run finishes."""
        if self._run is None:
            return
        self._stages.append([kind, fingerprint, seconds, cached, *((cost or {}).get(name) for name in COSTS)])
        spent = sum(row[2] for row in self._stages if row[0] == kind and not row[3])
        self._run.summary.update({f"seconds/{kind}": spent, f"fingerprint/{kind}": fingerprint})

    def cost(self, phases: Mapping[str, Mapping[str, float | None]]) -> None:
        """Note what the result costs: cost/<phase>/<what> in the summary."""
        if self._run is None:
            return
        found = {f"cost/{phase}/{what}": value for phase, of in phases.items() for what, value in of.items()}
        self._run.summary.update({name: value for name, value in found.items() if value is not None})

    def training_callback(self) -> CurveCallback:
        """A transformers callback that logs loss, learning rate, gradient norm and tokens per second under train/."""
        from siftune.runs.tracker.callback import CurveCallback

        return CurveCallback(self._log)

    def found_curve(self, log: Iterable[Mapping[str, float]]) -> None:
        """Log the curve of a checkpoint that another experiment trained; a continued run has logged its own."""
        if self._run is None or not self._is_new:
            return
        for step in log:
            curves = {f"train/{name}": step[name] for name in CURVES if name in step}
            self._log({"train/step": step["step"], **curves})

    def evaluation(self, results: Iterable[TaskResult], headline: float | None = None) -> None:
        """Log each task's value under eval/, their headline likewise, and all of them as a table and a chart."""
        if self._run is None:
            return
        rows = [[getattr(result, column) for column in TASK_COLUMNS] for result in results]
        scores = {f"eval/{row[0]}": row[TASK_COLUMNS.index("value")] for row in rows}
        average = {} if headline is None else {HEADLINE_METRIC: headline}
        chart = bars("Scores", "task", "score", [(row[0], row[TASK_COLUMNS.index("value")]) for row in rows])
        self._log({**scores, **average, "evaluation": table(TASK_COLUMNS, rows), "charts/scores": chart})

    def selection(self, summary: Mapping[str, Any], lengths: tuple[np.ndarray, np.ndarray] | None = None) -> None:
        """Log a summary of the picks: its numbers and names, and the source mixture of pool and subset as a table and
        as charts. lengths: characters of the rows of pool and subset, for a chart."""
        if self._run is None:
            return
        pool, subset = summary.get("sources_pool") or {}, summary.get("sources_subset") or {}
        plain = {f"selection/{key}": value for key, value in summary.items() if not isinstance(value, Mapping)}
        self._run.summary.update(redact(plain))
        if pool or subset:
            names = sorted({*pool, *subset})
            rows = [[name, pool.get(name, 0), subset.get(name, 0)] for name in names]
            charts = {f"charts/{name}": chart for name, chart in mixtures(redact(pool), redact(subset)).items()}
            self._log({"sources": table(SOURCE_COLUMNS, redact(rows)), **charts})
        if lengths is not None:
            self._log({"charts/lengths": length_lines(*lengths)})

    def refinement(self, report: RefinementReport, folder: Path) -> None:
        """Log the rounds of a refinement under refinement/: weights, what was dropped and why, the pictures.

        folder: where its files were written (runs/rounds/files.py)."""
        if self._run is None:
            return
        from siftune.runs.rounds.tracking import pictures, series
        from siftune.runs.rounds.tracking import tables as tables_of

        if self._is_new:
            for step in series(report):
                self._log({f"refinement/{name}": value for name, value in step.items()})
        found = {name: table(columns, redact(rows)) for name, (columns, rows) in tables_of(report, folder).items()}
        last = {"round": len(report.rounds), **found, **pictures(folder)}
        self._log({f"refinement/{name}": value for name, value in last.items()})

    def show(self, values: Mapping[str, Any]) -> None:
        """Log what is there to be shown: numbers, tables, images, charts."""
        self._log(values)

    def artifact(
        self,
        kind: str,
        name: str,
        folder: Path,
        files: Sequence[Path],
        inputs: Sequence[str],
        metadata: Mapping[str, Any],
        *,
        made: bool = True,
    ) -> None:
        """Declare an artifact of the run, made from those named in `inputs`, each declared before.

        `files` (below `folder`, not copied: they must stay there until they are sent) go with it; without files it is
        known by its metadata alone. Where it is not `made` by the run it is something the run reads (the pool, whose
        text never leaves the machine), and is linked when another names it."""
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
        if made:
            self._run.log_artifact(artifact)
        self._artifacts[name] = artifact

    def finish(self, exit_code: int = 0) -> None:
        """End the W&B run (again: nothing happens)."""
        if self._run is None:
            return
        if self._stages:
            self._log({"stages": table(STAGE_COLUMNS, self._stages)})
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


def _artifact_name(name: str) -> str:
    return re.sub(r"[^\w.\-]", "_", name)[:128]


def _read_counter(path: Path) -> int:
    return int(path.read_text()) if path.exists() else 0


def _write_counter(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(str(value))
    temporary.replace(path)
