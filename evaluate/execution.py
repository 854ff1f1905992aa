"""How programs that a model wrote are executed: their limits."""

from __future__ import annotations

import os
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class CodeExecution:
    """What each program may use up. A program that wants more is stopped, and has failed."""

    cpu_seconds: int = 3
    """CPU time of a process. The HumanEval paper (arXiv:2107.03374) and HuggingFace's code_eval stop a program after
    3 s of wall time, which depends on how busy the machine is; CPU time does not."""
    wall_seconds: float = 60.0
    """From start to end: stops programs that sleep or wait. Far above the CPU time, so that a busy machine changes no
    score."""
    memory_mb: int = 1024
    """Address space of a process, and the resident memory of all of a program's processes together."""
    processes: int = 32
    """Processes and threads of a program."""
    scratch_mb: int = 64
    """The folder that a program may write to: it lies in memory and is gone when the program has ended."""
    output_kb: int = 1024
    """What a program may print. It is thrown away."""
    workers: int | None = field(default=None, metadata={"identity": False})
    """Programs at a time; null: as many as there are cores."""

    def __post_init__(self) -> None:
        for name in ("cpu_seconds", "wall_seconds", "processes", "scratch_mb", "output_kb"):
            if getattr(self, name) <= 0:
                raise ValueError(f"evaluate.execution.{name}={getattr(self, name)} must be positive")
        if self.memory_mb < 128:
            raise ValueError(f"evaluate.execution.memory_mb={self.memory_mb}: Python needs at least 128")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"evaluate.execution.workers={self.workers} must be at least 1, or null for all cores")

    def at_a_time(self) -> int:
        """How many programs run at a time."""
        return self.workers or len(os.sched_getaffinity(0))
