"""What a stage takes while it is computed: time, memory and energy. Measuring never makes a stage fail."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import psutil

from siftune.runs.energy import EnergyMeter
from siftune.selection.files import write_whole

INTERVAL = 0.5
"""Seconds from one look at the memory to the next, at least."""
LEISURE = 50
"""So many times as long as a look takes, nobody looks: on a machine with many processes looking is slow."""
SAVED_EVERY = 10.0
"""Seconds: of an attempt that is killed so much is forgotten at the most."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a computation took, the attempts before the one that finished it included; None for what is not known."""

    seconds: float = 0.0
    energy_joules: float | None = None
    """Of the whole machine: processors and GPUs that tell."""
    peak_memory_bytes: int | None = None
    """The most that this process and its children had in memory at a time. Of children it is what they share with
    nobody, and only what stood for half a second is sure to be seen."""
    peak_gpu_bytes: int | None = None
    """The most that tensors took, of the GPU that held most; None without one."""

    def after(self, earlier: Measured) -> Measured:
        """The two one after the other."""
        known = self.energy_joules is not None and earlier.energy_joules is not None
        return Measured(
            seconds=self.seconds + earlier.seconds,
            energy_joules=(self.energy_joules or 0.0) + (earlier.energy_joules or 0.0) if known else None,
            peak_memory_bytes=_larger(self.peak_memory_bytes, earlier.peak_memory_bytes),
            peak_gpu_bytes=_larger(self.peak_gpu_bytes, earlier.peak_gpu_bytes),
        )


class Meter:
    """Measures a block. Of blocks within blocks (a stage that calls for another) time and energy count once, for the
    inner one.

    `notes` is a file that keeps what an attempt took that did not finish: the next attempt adds it up. It is removed
    by `forget`, when the result is safe.
    """

    _open: ClassVar[list[Meter]] = []

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._earlier = read_notes(notes)
        self._inner_seconds = self._inner_joules = 0.0
        self._memory: int | None = None
        self._gpu: int | None = None
        self._done = threading.Event()

    def __enter__(self) -> Meter:
        _fold_peaks()
        self._resettable = _reset_peaks()
        self._start = time.monotonic()
        self._energy = EnergyMeter()
        Meter._open.append(self)
        self._thread = threading.Thread(target=self._watch, name="siftune-meter", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._energy.update()
        _fold_peaks()
        Meter._open.remove(self)
        seconds = time.monotonic() - self._start
        self.measured = self._so_far(seconds).after(self._earlier)
        if Meter._open:
            Meter._open[-1]._inner_seconds += seconds
            Meter._open[-1]._inner_joules += self._energy.joules or 0.0
        if kind is not None:
            self.remember(self.measured)

    @classmethod
    def add(cls, measured: Measured) -> None:
        """Count to the innermost block what a part of its work took that was done before, for another one."""
        if cls._open:
            cls._open[-1]._earlier = measured.after(cls._open[-1]._earlier)

    def remember(self, measured: Measured) -> None:
        """Let the next attempt add this up."""
        try:
            write_whole(self._notes, json.dumps(dataclasses.asdict(measured)) + "\n")
        except OSError:
            # A full disk stops the stage itself, if it must.
            return

    def forget(self) -> None:
        """Nothing is left to be added up."""
        self._notes.unlink(missing_ok=True)

    def see(self, memory: int | None, gpu: int | None) -> None:
        """Take note of so much memory."""
        self._memory, self._gpu = _larger(self._memory, memory), _larger(self._gpu, gpu)

    def _so_far(self, seconds: float) -> Measured:
        joules = self._energy.joules
        return Measured(
            seconds=seconds - self._inner_seconds,
            energy_joules=None if joules is None else joules - self._inner_joules,
            peak_memory_bytes=self._memory,
            peak_gpu_bytes=self._gpu,
        )

    def _watch(self) -> None:
        wait, saved = 0.0, time.monotonic()
        while not self._done.wait(wait):
            began = time.monotonic()
            self.see(_memory_now(), None)
            self._energy.update()
            if began - saved > SAVED_EVERY:
                self.remember(self._so_far(began - self._start).after(self._earlier))
                saved = began
            wait = max(INTERVAL, LEISURE * (time.monotonic() - began))


def read_notes(path: Path) -> Measured:
    """What attempts took that did not finish."""
    try:
        return Measured(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Measured(energy_joules=0.0)
    except (OSError, ValueError, TypeError):
        return Measured()


def measured_of(record: Mapping[str, Any]) -> Measured:
    """What the record of a finished stage says."""
    cost = record.get("cost") or {}
    known = {field.name: cost.get(field.name) for field in dataclasses.fields(Measured) if field.name != "seconds"}
    return Measured(seconds=record["seconds"], **known)


def _larger(one: int | None, other: int | None) -> int | None:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)


def _memory_now() -> int | None:
    """Bytes of this process and its children."""
    try:
        own = psutil.Process()
        children = (_unshared(child) for child in own.children(recursive=True))
        return int(own.memory_info().rss + sum(children))
    except (psutil.Error, OSError):
        return None


def _unshared(child: psutil.Process) -> int:
    try:
        memory = child.memory_info()
    except psutil.Error:
        return 0
    return int(memory.rss - getattr(memory, "shared", 0))


def _fold_peaks() -> None:
    """Let all open blocks see the peaks since the last reset."""
    gpu = _gpu_peak()
    for meter in Meter._open:
        meter.see(_own_peak() if meter._resettable else None, gpu)


def _reset_peaks() -> bool:
    """Start the peaks anew; False where the system cannot do that for the process's memory."""
    cuda = _cuda()
    if cuda is not None:
        for device in range(cuda.device_count()):
            cuda.reset_peak_memory_stats(device)
    try:
        # Linux: the peak of the resident memory starts from the memory of now (man 5 proc_pid_clear_refs).
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _own_peak() -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _gpu_peak() -> int | None:
    cuda = _cuda()
    if cuda is None:
        return None
    return max(int(cuda.max_memory_allocated(device)) for device in range(cuda.device_count()))


def _cuda() -> Any:
    """torch.cuda, where it is in use: asking must not be what starts it."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
