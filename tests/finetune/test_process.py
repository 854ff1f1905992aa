"""What is set up before torch loads on a machine without a GPU."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from siftune.finetune import process

PROBE = """
import resource, sys
from siftune.finetune.process import keep_freed_memory
done = keep_freed_memory() if {keep} else False
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    block = bytearray(8_000_000)
    block[::4096] = b"x" * len(block[::4096])
    del block
print(int(done), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, int("torch" in sys.modules))
"""


def probe(keep: bool, **environment: str) -> tuple[bool, int, bool]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    output = subprocess.run(
        [sys.executable, "-c", PROBE.format(keep=keep)], env=clean | environment, capture_output=True, check=True
    ).stdout.split()
    return output[0] == b"1", int(output[1]), output[2] == b"1"


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(process, "keep_freed_memory", lambda: True)
    for name in process.THREADS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_gpu")
def test_waiting_threads_give_up_their_core() -> None:
    process.prepare_process()
    assert {name: os.environ[name] for name in process.THREADS} == {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


@pytest.mark.usefixtures("no_gpu")
def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    process.prepare_process()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.usefixtures("no_gpu")
def test_with_a_gpu_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "has_gpu", lambda: True)
    process.prepare_process()
    assert "OMP_WAIT_POLICY" not in os.environ


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_hidden_gpu_is_none(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert not process.has_gpu()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_freed_blocks_are_used_again_without_new_pages() -> None:
    _, faults, _ = probe(keep=False, MALLOC_MMAP_THRESHOLD_="131072")
    done, kept_faults, loads_torch = probe(keep=True)
    assert done
    assert not loads_torch
    assert kept_faults < faults / 4


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_the_users_own_allocator_settings_stay(name: str) -> None:
    done, _, _ = probe(keep=True, **{name: "100000"})
    assert not done
