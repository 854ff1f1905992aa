"""All measures of a set at once: each is its own function's figure, and one without a value does not stop the rest."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from siftune.selection.diversity import MEASURES, MeasureSettings, Reference, novelsum
from siftune.selection.kernels.progress import listening
from siftune.selection.measures.blocks import ReferenceRows
from siftune.selection.measures.coverage import facility_location, partition_entropy
from siftune.selection.measures.lexical import sampled_vocd, type_token_ratio, vocd, words_of
from siftune.selection.measures.pairs import cluster_inertia, distsum_cosine, distsum_l2, knn_distance, radius
from siftune.selection.measures.spectrum import eigenvalues, log_det_distance, vendi_score

SETTINGS = MeasureSettings(clusters=8, neighbors=4, seed=3)
TEXTS = [f"row {'abcdefgh'[i % 8]} of the {'red' if i % 3 else 'blue'} ones" for i in range(60)]


def _vectors(count: int, dimension: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


def test_every_measure_is_its_own_functions_figure() -> None:
    points, pool = _vectors(60), _vectors(400, seed=1)
    values = Reference(pool, SETTINGS).measure(points, TEXTS)
    counts, spectrum, rows = Counter(words_of(TEXTS)), eigenvalues(points), ReferenceRows(pool)
    expected = {
        "ttr": type_token_ratio(counts),
        "vocd_d": vocd(counts),
        "facility_location": facility_location(points, rows),
        "partition_entropy": partition_entropy(points, rows.clusters(8, 3, 20)),
        "cluster_inertia": cluster_inertia(points, clusters=8, rng=np.random.default_rng(3), max_iterations=20),
        "radius": radius(points),
        "vendi_score": vendi_score(spectrum, 60),
        "log_det_distance": log_det_distance(spectrum, 60),
        "knn_distance": knn_distance(points, neighbors=4).kth,
        "distsum_cosine": distsum_cosine(points),
        "distsum_l2": distsum_l2(points),
        "novelsum": novelsum(points, pool, neighbors=4),
    }
    assert list(values) == list(MEASURES)
    assert values == pytest.approx(expected, rel=1e-9)


def test_settings_reach_the_measures() -> None:
    points, pool = _vectors(60), np.concatenate([_vectors(60), _vectors(300, seed=1)])
    before = Reference(pool, SETTINGS).measure(points, TEXTS)

    def changed(**values: object) -> set[str]:
        after = Reference(pool, replace(SETTINGS, **values)).measure(points, TEXTS)  # type: ignore[arg-type]
        return {name for name in MEASURES if after[name] != before[name]}

    expected = {
        "neighbors": (2, {"knn_distance", "novelsum"}),
        "neighbor_distance": ("mean", {"knn_distance"}),
        "density_power": (0.25, {"novelsum"}),
        "distance_power": (2.0, {"novelsum"}),
        "include_self": (False, {"novelsum"}),
        "clusters": (20, {"partition_entropy", "cluster_inertia"}),
        "cluster_iterations": (1, {"partition_entropy", "cluster_inertia"}),
        "ridge": (0.5, {"log_det_distance"}),
        "vocd_samples": (20, {"vocd_d"}),
        "seed": (4, {"partition_entropy", "cluster_inertia"}),
        "memory_gb": (0.3, set()),
        # Every row is in the reference, so the nearest is left out in any case.
        "drop_first_neighbor": (True, set()),
    }
    for key, (value, measures) in expected.items():
        assert changed(**{key: value}) == measures, key
    assert {*expected, "names", "vocd_repeats"} == {field.name for field in fields(MeasureSettings)}
    outside = _vectors(60, seed=9)
    figures = [
        Reference(pool, replace(SETTINGS, names=("novelsum",), drop_first_neighbor=drop)).measure(outside)["novelsum"]
        for drop in (False, True)
    ]
    assert figures[0] != figures[1]
    sampled = replace(SETTINGS, names=("vocd_d",), vocd_samples=9, vocd_repeats=2)
    words = list(words_of(TEXTS))
    assert Reference(None, sampled).measure(None, TEXTS)["vocd_d"] == sampled_vocd(words, samples=9, repeats=2, seed=3)


def test_what_is_not_given_leaves_its_measures_without_a_value() -> None:
    found = Reference(None, SETTINGS).examine(_vectors(60))
    missing = {name: finding.reason for name, finding in found.items() if math.isnan(finding.value)}
    assert missing == {
        "ttr": "no texts were given",
        "vocd_d": "no texts were given",
        "facility_location": "no reference pool was given",
        "partition_entropy": "no reference pool was given",
    }
    assert found["novelsum"].value == novelsum(_vectors(60), neighbors=4)
    found = Reference(_vectors(5), SETTINGS).examine(None, TEXTS)
    assert [name for name in MEASURES if found[name].reason is None] == ["ttr", "vocd_d"]
    assert found["radius"].reason == "no embeddings were given"


@pytest.mark.parametrize("kind", ["one row", "copies", "zero rows", "few rows"])
def test_poor_sets_have_the_values_they_can_have(kind: str) -> None:
    points = {
        "one row": _vectors(1),
        "copies": np.repeat(_vectors(1), 30, axis=0),
        "zero rows": np.zeros((30, 12)),
        "few rows": _vectors(3),
    }[kind]
    found = Reference(_vectors(100, seed=1), SETTINGS).examine(points, ["12 + 3"] * len(points))
    missing = {name for name, finding in found.items() if math.isnan(finding.value)}
    assert missing == {name for name, finding in found.items() if finding.reason}
    distances = {"radius", "knn_distance", "distsum_cosine", "distsum_l2"}
    assert (
        missing - {"ttr", "vocd_d"}
        == {
            "one row": {"cluster_inertia", *distances},
            "copies": set(),
            "zero rows": {"vendi_score"},
            "few rows": {"cluster_inertia"},
        }[kind]
    )
    if kind in ("copies", "zero rows"):
        assert all(abs(found[name].value) < 1e-12 for name in (*distances, "novelsum", "partition_entropy"))
    assert found["ttr"].reason == "the texts have no words"


def test_half_precision_and_memory_maps_change_nothing(tmp_path: Path) -> None:
    points, pool = _vectors(60).astype(np.float16), _vectors(300, seed=1).astype(np.float16)
    expected = Reference(pool.astype(np.float32), SETTINGS).measure(points.astype(np.float32))
    for name, array in (("points", points), ("pool", pool)):
        np.save(tmp_path / f"{name}.npy", array)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("points", "pool")]
    values = Reference(mapped[1], SETTINGS).measure(mapped[0])
    assert values == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_bad_input_is_refused_before_anything_is_computed() -> None:
    reference = Reference(_vectors(50), SETTINGS)
    with pytest.raises(ValueError, match="dimension 3, the reference has 12"):
        reference.measure(_vectors(5, 3))
    with pytest.raises(ValueError, match=r"shape \(0, 12\)"):
        reference.measure(_vectors(0))
    with pytest.raises(ValueError, match="60 embeddings and 2 texts"):
        reference.measure(_vectors(60), TEXTS[:2])
    with pytest.raises(ValueError, match=r"memory_gb=0.01 is too little"):
        Reference(_vectors(50), replace(SETTINGS, memory_gb=0.01)).measure(_vectors(5))
    points = _vectors(20)
    points[7, 3] = np.inf
    for name in MEASURES.keys() - {"ttr", "vocd_d"}:
        with pytest.raises(ValueError, match="rows 7"):
            Reference(_vectors(50), replace(SETTINGS, names=(name,))).measure(points)


def test_progress_is_reported() -> None:
    seen: set[str] = set()
    with listening(lambda what, done, total: seen.add(what)):
        Reference(_vectors(50), SETTINGS).measure(_vectors(20), TEXTS[:20])
    assert {"searching the reference", "measuring the reference", "taking distances"} <= seen
