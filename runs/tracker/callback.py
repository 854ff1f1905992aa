"""Training curves for the tracker: what the trainer logs, under train/."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from siftune.runs.tracking import CURVES


class CurveCallback(TrainerCallback):
    """Hands every logged training step to `log`, with the tokens per second since the step logged before it."""

    def __init__(
        self, log: Callable[[Mapping[str, Any]], None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._log = log
        self._clock = clock
        self._tokens = 0.0
        self._time = clock()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock; the trainer's `num_tokens` counts from here, also after a resume."""
        self._tokens, self._time = 0.0, self._clock()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Log one step; the trainer's closing summary (which has no loss of a step) is left out."""
        if not state.is_world_process_zero or logs is None or "loss" not in logs:
            return
        values = {f"train/{name}": logs[name] for name in CURVES if name in logs}
        if "num_tokens" in logs:
            values["train/tokens_per_second"] = self._speed(float(logs["num_tokens"]))
        self._log({"train/step": state.global_step, **values})

    def _speed(self, tokens: float) -> float:
        now = self._clock()
        speed = (tokens - self._tokens) / max(now - self._time, 1e-9)
        self._tokens, self._time = tokens, now
        return speed
