"""The rounds of a refinement in W&B."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from siftune.runs.rounds.plots import weights_figure
from siftune.runs.rounds.report import RefinementReport, RoundReport
from siftune.runs.tracker.config import REDACTED


def test_refinement(tmp_path: Path, hf_token: str, run_files: Any, tracker: Any) -> None:
    """Lines over rounds, tables of the weights and of what was dropped, the pictures: read back from W&B's files."""
    report = RefinementReport(
        rounds=(
            RoundReport(
                number=1, rows=np.array([0, 2, 3]), weights=np.array([0.5, 0.5]), means=np.array([1.0, -1.0]),
                values=np.array([1.0, -1.0, np.nan]), unscored={"id3": "no reply"},
            ),
            RoundReport(number=2, rows=np.array([1]), weights=np.array([0.9, 0.1])),
        ),
        size=4, labels=np.array([0, 0, 1, 1]), names=("good", "bad"), weights=np.array([0.9, 0.1]), score="rating",
        compare="difference",
    )  # fmt: skip
    change = {
        "kind": "cluster", "name": "kind 'bad'", "size": 2, "dropped": True, "weights": [0.5, 0.1], "why": "because",
        "example": {"id": "id2", "prompt": f"say {hf_token}", "gold": "no", "reply": "yes", "value": -1.0},
    }  # fmt: skip
    lines = [change, {"kind": "row", "row": "id3", "round": 1, "why": "no reply"}]
    files = tmp_path / "refinement"
    files.mkdir()
    (files / "dropped.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    figure = weights_figure(report)
    assert figure is not None
    figure.savefig(files / "weights.png")
    with tracker(tmp_path / "wandb") as run:
        run.refinement(report, files)
    (file,) = run_files(tmp_path / "wandb")
    first, second, last = file.history()
    assert (first["refinement/weight/good"], second["refinement/weight/good"]) == (0.5, 0.9)
    assert (first["refinement/mean_S"], first["refinement/unscored"]) == (0.0, 1)
    assert "refinement/mean_S" not in second
    assert [row["refinement/round"] for row in (first, second, last)] == [1, 2, 2]
    tables = {
        file.name.split("_")[0]: json.loads(file.read_text())
        for file in (tmp_path / "wandb").rglob("media/table/refinement/*.table.json")
    }
    assert tables["clusters"]["data"] == [
        [1, "good", 2, 0.5, 1, 1, 1.0], [1, "bad", 2, 0.5, 2, 1, -1.0],
        [2, "good", 2, 0.9, 1, 0, None], [2, "bad", 2, 0.1, 0, 0, None],
    ]  # fmt: skip
    assert tables["dropped"]["data"] == [
        ["kind 'bad'", 2, True, 0.5, 0.1, "because", "id2", f"say {REDACTED}", "no", "yes", -1.0]
    ]
    assert tables["unscored"]["data"] == [["id3", 1, "no reply"]]
    (picture,) = (tmp_path / "wandb").rglob("media/images/refinement/*.png")
    assert picture.read_bytes() == (files / "weights.png").read_bytes()
    assert last["refinement/weights_picture/_type"] == "image-file"
