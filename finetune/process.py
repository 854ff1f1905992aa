"""Settings of the process that must be made before torch is loaded, and that matter on machines without a GPU."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
from pathlib import Path

THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
"""Threads that wait give up their core. By default they spin: with another process on two cores, a LoRA step fell from
180 to 10 tokens a second."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's mallopt(3): freed memory goes back to the system, and blocks are mapped one by one, above these sizes."""
LARGEST = 2**31 - 1


def prepare_process() -> None:
    """On a machine without a GPU, set up threads and memory for tensors; what the user has set is left alone."""
    if has_gpu():
        return
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)
    keep_freed_memory()


def has_gpu() -> bool:
    """Whether a CUDA or ROCm GPU is there and not hidden, found out without loading torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists() or Path("/dev/dxg").exists()


def keep_freed_memory() -> bool:
    """Let glibc keep freed tensors for the next ones instead of returning and mapping them anew each time.

    A training step allocates the same gigabytes over and over; with glibc's defaults a third to a half of its time went
    into mapping and clearing pages. The same as MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_THRESHOLD_, which glibc only
    reads when a process starts. Returns whether it was done: not without glibc, nor where the user chose.
    """
    chosen = any(name in os.environ for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"))
    if chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(M_TRIM_THRESHOLD, LARGEST), mallopt(M_MMAP_THRESHOLD, LARGEST)])


def release_memory() -> None:
    """Give back what a finished stage leaves: models in reference cycles, and the freed memory that glibc keeps."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
