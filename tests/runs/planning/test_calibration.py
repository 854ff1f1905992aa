"""The machine's rates: measured once, kept with what they depend on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from siftune.runs.planning import calibration
from siftune.runs.planning.calibration import EFFICIENCY, Calibration, calibrate


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "SECONDS", 0.01)
    monkeypatch.setattr(calibration, "WIDTH", {"cpu": 64, "cuda": 64})


def test_the_machine_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = calibrate(tmp_path)
    assert min(first.flops, first.thin_flops) > 0
    monkeypatch.setattr(calibration, "_product_rate", lambda rows, width: 1 / 0)
    assert calibrate(tmp_path) == first
    (kept,) = (tmp_path / "calibration").iterdir()
    assert json.loads(kept.read_text())["machine"]["cores"] >= 1


def test_another_machine_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calibrate(tmp_path)
    monkeypatch.setattr(calibration, "machine_identity", lambda: {"cores": 64})
    calibrate(tmp_path)
    assert len(list((tmp_path / "calibration").iterdir())) == 2


def test_seconds_are_operations_by_the_rate_that_is_reached() -> None:
    rates = Calibration(flops=1e9, thin_flops=1e6)
    assert rates.seconds("forward", 4e9) == pytest.approx(4 / EFFICIENCY["forward"])
    assert rates.seconds("generation", 4e6) == pytest.approx(4 / EFFICIENCY["generation"])
