"""What this machine can do, measured once in a few seconds and kept in the store."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from siftune.finetune.model import resolve_device, resolve_dtype
from siftune.runs import provenance
from siftune.runs.artifacts import write_json
from siftune.runs.cost import Work
from siftune.runs.fingerprint import fingerprint

SECONDS = 0.8
"""How long each product is repeated."""
PRODUCTS = 10
"""That are timed together."""
WIDTH = {"cpu": 2048, "cuda": 8192}
"""Of the matrices."""
EFFICIENCY: dict[Work, float] = {"forward": 0.5, "training": 0.2, "generation": 0.1}
"""Share of the measured rates that stages reach: of a square product's by passes over rows, of a thin product's by
writing token after token. Those of the quickstart's stages (SmolLM2-135M, two cores, bfloat16)."""


@dataclass(frozen=True)
class Calibration:
    """Rates of this machine."""

    flops: float
    """A second, in square products in the number format that models are loaded in."""
    thin_flops: float
    """The same with 16 rows, where the reading of the weights takes the time."""

    def seconds(self, work: Work, flops: float) -> float:
        """For so many operations of this kind."""
        return flops / (EFFICIENCY[work] * (self.thin_flops if work == "generation" else self.flops))


def calibrate(store: Path, keep: Path | None = None) -> Calibration:
    """The rates of this machine; from the store, where they were measured before on such a machine.

    keep: the folder to keep them in, in place of the store."""
    machine = machine_identity()
    name = f"{fingerprint(version=1, config=machine, inputs={})}.json"
    known, path = store / "calibration" / name, (keep or store) / "calibration" / name
    if known.is_file():
        return Calibration(**json.loads(known.read_text(encoding="utf-8"))["rates"])
    path.parent.mkdir(parents=True, exist_ok=True)
    width = WIDTH[resolve_device().type]
    rates = Calibration(_product_rate(width, width), _product_rate(16, width))
    write_json(path, {"rates": dataclasses.asdict(rates), "machine": machine})
    return rates


def machine_identity() -> dict[str, Any]:
    """What the rates depend on."""
    settings = {"model": _processor_model(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    return {**provenance.hardware(), **settings}


def _processor_model() -> str:
    """The processor's name as Linux gives it; elsewhere what `hardware` says must do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _product_rate(rows: int, width: int) -> float:
    """Operations a second of (rows, width) @ (width, width).T, as a linear layer multiplies."""
    device, dtype = resolve_device(), resolve_dtype("auto")
    left = torch.randn(rows, width, dtype=dtype, device=device)
    right = torch.randn(width, width, dtype=dtype, device=device)
    _seconds_of(left, right, count=3)
    count, seconds = 0, 0.0
    start = time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        seconds += _seconds_of(left, right, PRODUCTS)
        count += PRODUCTS
    return 2.0 * rows * width * width * count / seconds


def _seconds_of(left: torch.Tensor, right: torch.Tensor, count: int) -> float:
    """Seconds of products; on CPUs those that it had its cores, whatever else runs there at the same time."""
    on_gpu = left.device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    start = clock()
    for _ in range(count):
        left @ right.T
    if on_gpu:
        torch.cuda.synchronize()
    return (clock() - start) / (1 if on_gpu else torch.get_num_threads())
