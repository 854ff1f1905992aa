"""Where a result came from: commit, command line, versions and hardware."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from siftune.runs.tracker.config import redact

PACKAGES = ("siftune", "torch", "transformers", "peft", "trl", "datasets", "lm-eval", "numpy", "sentence-transformers")


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results; a package that is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def commit() -> str | None:
    """The commit of the checkout that siftune runs from, with "+" where files differ; None for an installed wheel."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        head = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=20)
        changes = subprocess.run(
            ["git", "-C", folder, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if head.returncode != 0:
        return None
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")


def hardware() -> dict[str, Any]:
    """Processor, cores, memory in GB and accelerators of this machine."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpus": gpus,
    }


def command_line() -> list[str]:
    """The command as typed, secrets hidden."""
    arguments = (argument.partition("=") for argument in sys.argv)
    return [key + equals + str(redact({key: value})[key]) if equals else key for key, equals, value in arguments]
