"""Run by the tests in a process of its own: train the tiny model, and die on the way when told to."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from siftune.finetune.config import FinetuneConfig, LoraSettings
from siftune.finetune.model_sources import ModelRef
from siftune.finetune.sft import finetune
from siftune.finetune.trainer import AssistantTrainer
from siftune.selection.pool.rows import Row


class DieAtStep(TrainerCallback):
    """SIGKILL this process when a step has ended."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


def die_while_saving(step: int) -> None:
    """SIGKILL this process when a checkpoint's weights are written and its random states are not."""
    save = AssistantTrainer._save_rng_state

    def save_or_die(self: Any, folder: str) -> None:
        if self.state.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        save(self, folder)

    AssistantTrainer._save_rng_state = save_or_die


def main(job: dict[str, Any]) -> None:
    """Train as the job says."""
    lora = job["config"].pop("lora")
    config = FinetuneConfig(**job["config"], lora=None if lora is None else LoraSettings(**lora))
    rows = [Row(id=row["id"], source="test", messages=row["messages"]) for row in job["rows"]]
    if job.get("die_while_saving"):
        die_while_saving(job["die_while_saving"])
    callbacks = [DieAtStep(job["die_at_step"])] if job.get("die_at_step") else []
    summary = finetune(ModelRef(**job["ref"]), rows, config, Path(job["folder"]), job["seed"], callbacks)
    if os.environ.get("RANK", "0") == "0":
        Path(job["folder"], "summary.json").write_text(json.dumps(dataclasses.asdict(summary)))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
