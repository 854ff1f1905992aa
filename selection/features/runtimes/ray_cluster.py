"""Connecting to a Ray cluster, and how many workers fit on it."""

from __future__ import annotations

import importlib.util
import logging
import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any

logger = logging.getLogger(__name__)

START = "start one with `ray start --head` here and `ray start --address=HEAD:6379` on the other machines"


@dataclass(frozen=True)
class Resources:
    """What one worker occupies."""

    cpus: int
    gpus: float

    def options(self) -> dict[str, Any]:
        """For Ray's decorators."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus}

    def __str__(self) -> str:
        return f"{self.cpus} CPUs" + (f" and {self.gpus:g} GPUs" if self.gpus else "")


def require_ray() -> None:
    """ValueError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ValueError("runtime=ray needs Ray, which is not installed: pip install 'siftune[ray]'")


def keep_to_itself() -> None:
    """Have Ray report nothing to its makers, unless the user wants it to; before it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def connect(address: str | None) -> ModuleType:
    """Ray, connected to the cluster at the address; None starts one on this machine, which ends with the process."""
    require_ray()
    keep_to_itself()
    import ray

    module: ModuleType = ray
    if ray.is_initialized():
        return module
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init(address="local", include_dashboard=False, **quiet)
        return module
    try:
        ray.init(address=address, **quiet)
    except ConnectionError as error:
        raise ValueError(f"runtime.address={address}: there is no Ray cluster ({error}); {START}") from error
    return module


def places(ray: ModuleType, wanted: Resources) -> int:
    """How many workers fit on the nodes of the cluster; ValueError where none does."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    found = sum(_on_node(node, wanted) for node in nodes)
    if not found:
        have = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise ValueError(
            f"a worker of runtime=ray takes {wanted} and no node of the cluster has them ({have}): "
            "set runtime.cpus_per_worker and runtime.gpus_per_worker"
        )
    if not wanted.gpus and any(node.get("GPU", 0) for node in nodes):
        logger.warning("the Ray cluster has GPUs and none is used: runtime.gpus_per_worker=1 gives one to each worker")
    return found


def _on_node(node: dict[str, float], wanted: Resources) -> int:
    fits = node.get("CPU", 0) // wanted.cpus
    return int(min(fits, node.get("GPU", 0) // wanted.gpus) if wanted.gpus else fits)
