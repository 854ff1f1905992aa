"""Starting a W&B run: quietly, with all files in one folder, and with nothing collected that was not asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siftune.runs.tracker.config import TrackingConfig

if TYPE_CHECKING:
    import wandb


class TrackingError(ValueError):
    """W&B cannot be reached or has no account; the message names the remedy."""


def start_run(
    config: TrackingConfig,
    run_id: str,
    name: str,
    group: str | None,
    resolved: Mapping[str, Any],
    folder: Path,
    job_type: str,
) -> wandb.Run:
    """Start W&B's run, or continue the one of that id; TrackingError where that cannot be."""
    import wandb

    # Nothing of the machine, the environment, the command line or the console is collected: the config has what
    # matters. Flushed every second: W&B's process dies with ours, and what it holds in memory (15 s by default) too.
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
        require_account()
    try:
        run = wandb.init(
            project=config.project,
            entity=config.entity,
            id=run_id,
            name=name,
            group=group,
            job_type=job_type,
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
    for part, step in {"train": "train/step", "refinement": "refinement/round"}.items():
        run.define_metric(step, hidden=True)
        run.define_metric(f"{part}/*", step_metric=step)
    return run


def agents_run() -> str | None:
    """The id that `wandb agent` has given the run of this process; None where none has started it."""
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def require_account() -> None:
    """TrackingError where tracking=online has no account to track to."""
    import wandb

    wandb.setup(wandb.Settings(silent=True))
    if not wandb.login(prompt=False, verify=False):
        raise TrackingError(
            "tracking=online needs a W&B account and none is configured here: run `wandb login`, "
            "or use tracking=offline (no account; `wandb sync` can send the runs later)"
        )


def _wandb_parent(folder: Path) -> Path:
    """W&B puts its runs into a folder `wandb` of its own making; `folder` itself is meant when it has that name."""
    return folder.parent if folder.name == "wandb" else folder


def keep_files_in(folder: Path) -> dict[str, str | None]:
    """Point W&B's staging and cache at `folder` instead of the home directory, and keep it from advertising its tracer
    where a judge's client is imported; returns the variables as they were."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"WANDB_DATA_DIR": folder / "staging", "WANDB_CACHE_DIR": folder / "cache"}
    wanted = {**files, "WANDB_DISABLE_WEAVE": "true"}
    before = {name: os.environ.get(name) for name in wanted}
    for name, path in wanted.items():
        os.environ.setdefault(name, str(path))
    return before
