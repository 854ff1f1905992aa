"""The points of a study, from records on disk: what is one subset, what does not compare, what is gone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from siftune.runs.reporting.records import ReportError
from siftune.runs.studies.subsets import artifact_of, read_runs, subsets_of


def write(folder: Path, content: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(content))
    return folder


def run(
    store: Path,
    label: str,
    seed: int,
    rows: Sequence[int],
    loss: float = 1.0,
    budget: int | None = None,
    **changes: Any,
) -> Path:
    """A run's record and its subset's, as `siftune run` leaves them."""
    name = f"{label}{seed}n{len(rows)}"
    subset = write(store / "subset" / f"{label}-{name}", {"kind": "subset", "fingerprint": name})
    (subset / "subset.jsonl").write_text("".join(json.dumps({"pool_row": row}) + "\n" for row in rows))
    task = {"metric": "nats", "value": loss, "stderr": 0.1, "higher_is_better": False, "samples": 4}
    summary = {
        "label": label, "group": None, "seed": seed, "model": "tiny", "pool": "skills", "targets": [],
        "budget": {"amount": budget or len(rows), "unit": "examples"}, "suite": "s",
        "results": {"tasks": {"loss": task}, "headline": None}, "selection": {"rows": len(rows)}, "training": {},
    }  # fmt: skip
    record = {
        "fingerprint": name, "created": "2026", "seconds": 1.0, "summary": summary | changes.pop("summary", {}),
        "inputs": {"subset": name, "pool": "p"}, "config": {"finetune": {"epochs": 2, "batch_size": seed + 1}},
    }  # fmt: skip
    return write(store / "run" / f"{label}-{name}", record | changes)


def test_every_subset_is_a_point_smallest_first(tmp_path: Path) -> None:
    folders = [run(tmp_path, "random", seed, range(seed, size)) for size in (9, 5) for seed in (1, 0)]
    subsets = subsets_of(read_runs(folders), tmp_path)
    assert [(subset.budget, subset.seeds) for subset in subsets] == [
        ("4 examples", (1,)),
        ("5 examples", (0,)),
        ("8 examples", (1,)),
        ("9 examples", (0,)),
    ]
    assert subsets[1].indices.tolist() == [0, 1, 2, 3, 4]


def test_the_same_rows_from_two_seeds_are_one_point_with_the_mean_of_their_results(tmp_path: Path) -> None:
    folders = [
        run(tmp_path, "kmeans", 0, [1, 2, 3], loss=1.0),
        run(tmp_path, "kmeans", 1, [3, 1, 2], loss=2.0),
        run(tmp_path, "random", 0, [4, 5, 6], loss=4.0),
    ]
    kmeans, random = subsets_of(read_runs(folders), tmp_path)
    assert (kmeans.seeds, random.seeds) == ((0, 1), (0,))
    assert (kmeans.result("loss"), random.result("loss")) == (1.5, 4.0)
    assert kmeans.indices.tolist() == [1, 2, 3]


def test_two_methods_that_picked_the_same_rows_are_one_point_of_both_names(tmp_path: Path) -> None:
    rows = {"random": [1, 2], "filter": [1, 2], "longest": [3, 4]}
    filtered, longest = subsets_of(read_runs([run(tmp_path, name, 0, rows[name]) for name in rows]), tmp_path)
    assert (filtered.label, filtered.methods, filtered.seeds) == ("filter", "filter, random", (0,))
    assert longest.methods == "longest"


def test_the_same_rows_asked_for_as_other_sizes_stay_apart(tmp_path: Path) -> None:
    folders = [run(tmp_path, name, 0, [1, 2], budget=budget) for name, budget in (("a", 2), ("b", 3), ("c", 2))]
    assert len(subsets_of(read_runs(folders), tmp_path)) == 2


def test_a_run_that_is_named_twice_and_the_untrained_model_do_not_count(tmp_path: Path) -> None:
    folders = [run(tmp_path, "random", seed, [seed]) for seed in range(3)]
    base = run(tmp_path, "base", 0, [9], summary={"selection": None, "training": None})
    assert [found.seed for found in read_runs([*folders, folders[0], base])] == [0, 1, 2]
    with pytest.raises(ReportError, match="2 runs that picked a subset, and a study needs 3"):
        read_runs([*folders[:2], base])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"inputs": {"subset": "x", "pool": "q"}}, "pool"),
        ({"summary": {"model": "other"}}, "model"),
        ({"summary": {"suite": "other"}}, "benchmarks"),
        ({"config": {"finetune": {"epochs": 3, "batch_size": 1}}}, "training"),
    ],
)
def test_runs_that_differ_in_more_than_the_subset_are_refused(
    tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    folders = [run(tmp_path, "random", seed, [seed]) for seed in range(3)]
    read_runs(folders)
    folders.append(run(tmp_path, "other", 0, [7], **changes))
    with pytest.raises(ReportError, match=f"differ in their {what}") as refused:
        read_runs(folders)
    assert str(folders[-1]) in str(refused.value)


def test_a_subset_that_is_gone_is_named(tmp_path: Path) -> None:
    folders = [run(tmp_path, "random", seed, [seed]) for seed in range(3)]
    (tmp_path / "subset" / "random-random1n1" / "record.json").unlink()
    runs = read_runs(folders)
    assert artifact_of(runs[0], "subset", tmp_path).fingerprint == "random0n1"
    with pytest.raises(ReportError, match="the subset random1n1 of"):
        subsets_of(runs, tmp_path)
