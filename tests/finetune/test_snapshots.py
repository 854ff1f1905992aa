"""Snapshots of a training: at the right steps, with Adam's own moments, the same after a kill, and never a pickle."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from siftune.finetune.config import FinetuneConfig, LoraSettings
from siftune.finetune.model import load_causal_lm
from siftune.finetune.model_sources import ModelRef
from siftune.finetune.sft import finetune
from siftune.finetune.snapshots import (
    SNAPSHOTS,
    SnapshotWriter,
    load_moments,
    mean_learning_rates,
    snapshot_steps,
    snapshots,
)
from siftune.selection.pool.rows import Row

LORA = LoraSettings(rank=2, alpha=4, target_modules=("q_proj",))


def config(**changes: Any) -> FinetuneConfig:
    settings: dict[str, Any] = {"epochs": 3, "global_batch_size": 8, "learning_rate": 1e-3, "lora": LORA}
    return FinetuneConfig(**settings | {"save_steps": 2, "max_length": 128} | changes)


class Recorder(TrainerCallback):
    """What the optimiser held after each step."""

    def __init__(self, stop: int | None = None) -> None:
        self.moments: dict[int, list[torch.Tensor]] = {}
        self._stop = stop

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        own = [kwargs["optimizer"].state[weight] for weight in kwargs["model"].parameters() if weight.requires_grad]
        self.moments[state.global_step] = [moment[kind].clone() for moment in own for kind in ("exp_avg", "exp_avg_sq")]
        if state.global_step == self._stop:
            raise KeyboardInterrupt


@pytest.fixture
def exact(tiny: ModelRef) -> ModelRef:
    return dataclasses.replace(tiny, dtype="float32")


def test_each_epoch_ends_in_a_snapshot_of_weights_and_moments(exact: ModelRef, rows: list[Row], tmp_path: Path) -> None:
    recorder, writer = Recorder(), SnapshotWriter(tmp_path, 3, moments=True)
    summary = finetune(exact, rows, config(), tmp_path, 0, (writer, recorder))
    found = snapshots(tmp_path, 3)
    # 21 rows in batches of 8: three steps an epoch.
    assert [folder.name for folder in found] == ["3", "6", "9"]
    for folder in found:
        state = load_moments(folder)
        assert (state.step, state.betas, state.eps) == (int(folder.name), (0.9, 0.999), 1e-8)
        own = [moment for pair in zip(state.first.values(), state.second.values(), strict=True) for moment in pair]
        recorded = recorder.moments[state.step]
        assert sorted(float(moment.sum()) for moment in own) == sorted(float(moment.sum()) for moment in recorded)
        assert sum(float(moment.abs().sum()) for moment in own) > 0
        assert not [path for path in folder.rglob("*") if path.suffix in (".pt", ".bin", ".pth", ".pkl")]
    last = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert all(
        torch.equal(last[name], value) for name, value in load_file(found[-1] / "adapter_model.safetensors").items()
    )
    first = load_file(found[0] / "adapter_model.safetensors")
    assert any(not torch.equal(last[name], value) for name, value in first.items())
    # Linear decay over nine steps, no warm-up: 9/9 .. 1/9 of the peak.
    assert mean_learning_rates(summary.log, 3) == pytest.approx([8e-3 / 9, 5e-3 / 9, 2e-3 / 9])


def test_moments_belong_to_the_parameters_they_are_named_after(
    exact: ModelRef, rows: list[Row], tmp_path: Path
) -> None:
    finetune(exact, rows, config(epochs=1), tmp_path, 0, (SnapshotWriter(tmp_path, 1, moments=True),))
    (folder,) = snapshots(tmp_path, 1)
    state = load_moments(folder)
    model = load_causal_lm(dataclasses.replace(exact, adapter=str(folder)))
    shapes = {name: weight.shape for name, weight in model.named_parameters() if "lora_" in name}
    assert {name: moment.shape for name, moment in state.first.items()} == shapes
    assert {name: moment.shape for name, moment in state.second.items()} == shapes


def test_a_stopped_training_leaves_the_snapshots_of_an_undisturbed_one(
    exact: ModelRef, rows: list[Row], tmp_path: Path
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    finetune(exact, rows, config(), whole, 0, (SnapshotWriter(whole, 3, moments=True),))
    for step in (3, 7):
        with pytest.raises(KeyboardInterrupt):
            finetune(exact, rows, config(), stopped, 0, (SnapshotWriter(stopped, 3, moments=True), Recorder(step)))
    # What a kill leaves half-written is not taken for a snapshot.
    (stopped / SNAPSHOTS / "6" / "complete.json").unlink()
    (stopped / SNAPSHOTS / ".9.tmp").mkdir()
    with pytest.raises(ValueError, match="has lost checkpoints"):
        snapshots(stopped, 2)
    (stopped / "checkpoints" / "checkpoint-6" / "complete.json").unlink()
    finetune(exact, rows, config(), stopped, 0, (SnapshotWriter(stopped, 3, moments=True),))
    for one, other in zip(snapshots(whole, 3), snapshots(stopped, 3), strict=True):
        assert one.name == other.name
        for name in ("adapter_model.safetensors", "adam.safetensors"):
            assert (one / name).read_bytes() == (other / name).read_bytes()


def test_whole_models_are_rounded_and_can_be_loaded(tiny: ModelRef, rows: list[Row], tmp_path: Path) -> None:
    writer = SnapshotWriter(tmp_path, 2, moments=False, dtype=torch.bfloat16)
    finetune(tiny, rows, config(method="full", lora=None, epochs=1), tmp_path, 0, (writer,))
    found = snapshots(tmp_path, 2)
    assert [folder.name for folder in found] == ["2", "3"]
    first, second = (load_causal_lm(dataclasses.replace(tiny, path=str(folder), dtype="auto")) for folder in found)
    tensors = [load_file(folder / "model.safetensors") for folder in found]
    assert {value.dtype for value in tensors[0].values()} == {torch.bfloat16}
    assert any(not torch.equal(value, tensors[1][name]) for name, value in tensors[0].items())
    assert first.config.vocab_size == second.config.vocab_size


def test_too_many_snapshots_are_refused_before_training(exact: ModelRef, rows: list[Row], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4 checkpoints are to be kept of 3 optimiser steps"):
        finetune(exact, rows, config(epochs=1), tmp_path, 0, (SnapshotWriter(tmp_path, 4, moments=True),))


def test_sharded_trainings_are_refused(
    exact: ModelRef, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SnapshotWriter(tmp_path, 1, moments=True)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="spread over processes"):
        writer.on_train_begin(None, type("State", (), {"max_steps": 3}), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("steps", "count", "wanted"), [(12, 4, [3, 6, 9, 12]), (10, 3, [4, 7, 10]), (2, 2, [1, 2])])
def test_steps_are_spread_evenly(steps: int, count: int, wanted: list[int]) -> None:
    assert snapshot_steps(steps, count) == wanted
    rates = mean_learning_rates([{"learning_rate": float(step)} for step in range(1, steps + 1)], count)
    edges = [0, *wanted]
    assert rates.tolist() == [np.arange(a + 1, b + 1).mean() for a, b in zip(edges, wanted, strict=False)]
