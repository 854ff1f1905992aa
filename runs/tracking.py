"""One Weights & Biases run per experiment: config, stage timings, training curves, scores, artifacts with lineage.

The W&B run id is the experiment's fingerprint, so that an experiment that was killed and started again continues its run.
Offline, each start writes its own `offline-run-*` folder under that id, and `wandb sync` joins them in order of time; history
steps go on counting across starts (their last value is kept beside the folders), because W&B drops steps that go back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from siftune.runs.tracking_config import TrackingConfig, redact

if TYPE_CHECKING:
    import wandb
    from siftune.runs.tracking_callback import CurveCallback

STAGE_COLUMNS = ["stage", "fingerprint", "seconds", "cached"]
TASK_COLUMNS = ["task", "metric", "value", "stderr", "higher_is_better", "samples"]
SOURCE_COLUMNS = ["source", "pool", "subset"]


class TrackingError(ValueError):
    """W&B cannot be reached or has no account; the message names the remedy."""


class Tracker:
    """Follows one experiment; a context manager. With `mode=disabled` it does nothing and W&B is never imported.

    run_id: the experiment's fingerprint. group: the sweep's, unless the config names one. resolved: the whole config, from
    which secrets are redacted. folder: where W&B keeps its files. Raises TrackingError (online: no account, no connection)."""

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
        if config.mode == "disabled":
            return
        self._environment = _keep_files_in(folder)
        try:
            self._run = _start(config, run_id, redact(name), redact(config.group or group), redact(resolved), folder)
        except BaseException:
            self._restore_environment()
            raise
        self._counter = folder / "steps" / f"{run_id}.txt"
        self._step = max(self._run.step, _read_counter(self._counter))

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

    def evaluation(self, results: Sequence[Mapping[str, Any]]) -> None:
        """Log the tasks' results (mappings with name, metric, value, stderr, higher_is_better, samples)."""
        if self._run is None:
            return
        rows = [[result["name"], *(result.get(column) for column in TASK_COLUMNS[1:])] for result in results]
        scores = {f"eval/{result['name']}": result["value"] for result in results}
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

        With `files` (below `folder`, not copied: they must stay there until they are sent) it is an output, made from the
        artifacts named in `inputs`, each declared before. Without files it is something the run reads, known by its metadata
        alone (the pool, whose text never leaves the machine), and is linked when an output names it."""
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
            # use_artifact refuses offline runs, although the run file can hold what it records: this is what it does online
            # with an artifact that is not committed yet.
            self._run._log_artifact(self._artifacts[name], is_user_created=True, use_after_commit=True)
        else:
            self._run.use_artifact(self._artifacts[name])

    def _restore_environment(self) -> None:
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start(
    config: TrackingConfig, run_id: str, name: str, group: str | None, resolved: Mapping[str, Any], folder: Path
) -> wandb.Run:
    import wandb

    # Nothing of the machine, the environment, the command line or the console is collected: the config has what matters.
    # Flushed every second: W&B's process dies with ours, and what it holds in memory (15 s by default) with it.
    settings = wandb.Settings(
        mode=config.mode,
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        x_transaction_log_flush_interval=1.0,
    )
    if config.mode == "online":
        _require_account(settings)
    try:
        run = wandb.init(
            project=config.project,
            entity=config.entity,
            id=run_id,
            name=name,
            group=group,
            job_type="experiment",
            tags=list(config.tags),
            config=dict(resolved),
            resume="allow",
            dir=str(_wandb_parent(folder)),
            settings=settings,
        )
    except wandb.Error as error:
        raise TrackingError(
            f"W&B could not start the run ({error}); use tracking=offline to work without a connection"
        ) from error
    run.define_metric("train/step", hidden=True)
    run.define_metric("train/*", step_metric="train/step")
    return run


def _require_account(settings: wandb.Settings) -> None:
    import wandb

    wandb.setup(settings)
    if not wandb.login(prompt=False, verify=False):
        raise TrackingError(
            "tracking=online needs a W&B account and none is configured here: run `wandb login`, or use tracking=offline "
            "(no account; `wandb sync` can send the runs later)"
        )


def _wandb_parent(folder: Path) -> Path:
    """W&B puts its runs into a folder `wandb` of its own making; `folder` itself is meant when it has that name."""
    return folder.parent if folder.name == "wandb" else folder


def _keep_files_in(folder: Path) -> dict[str, str | None]:
    """Point W&B's staging and cache at `folder` instead of the home directory; returns the variables as they were."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {"WANDB_DATA_DIR": folder / "staging", "WANDB_CACHE_DIR": folder / "cache"}
    before = {name: os.environ.get(name) for name in wanted}
    for name, path in wanted.items():
        os.environ.setdefault(name, str(path))
    return before


def _table(columns: list[str], rows: list[list[Any]]) -> wandb.Table:
    import wandb

    return wandb.Table(columns=columns, data=rows, allow_mixed_types=True)


def _artifact_name(name: str) -> str:
    return re.sub(r"[^\w.\-]", "_", name)[:128]


def _read_counter(path: Path) -> int:
    return int(path.read_text()) if path.exists() else 0


def _write_counter(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(str(value))
    temporary.replace(path)
