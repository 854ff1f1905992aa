"""Which process of a torchrun or accelerate launch this one is; read from the environment, before torch loads."""

from __future__ import annotations

import os


def rank() -> int:
    """The global rank, 0 when there is one process."""
    return int(os.environ.get("RANK", "0"))


def is_main_process() -> bool:
    """Whether this process reads, writes and reports for all."""
    return rank() == 0
