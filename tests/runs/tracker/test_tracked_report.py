"""A report in W&B: a run of its own, made of the experiments' evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from siftune.runs.artifacts import write_json
from siftune.runs.reporting.content import Cell, Column, Part, Picture, Report, Table
from siftune.runs.reporting.records import RunRecord, Score
from siftune.runs.reporting.tracking import track_report
from siftune.runs.tracker.config import REDACTED, TrackingConfig


def run_record(label: str, seed: int, value: float, store: Path) -> RunRecord:
    cost = {phase: {"flops": 1e9, "seconds": 3.0} for phase in ("selection", "training")}
    return RunRecord(
        folder=store / "run" / f"{label}-{seed}", fingerprint=f"{label}{seed}", created="2026-01-01", seconds=9.0,
        commit=None, label=label, group="g", seed=seed, model="m", pool="p", pool_fingerprint="aa", targets=(),
        budget="12 examples", suite="s",
        scores={"em": Score(metric="exact_match", value=value, stderr=None, higher_is_better=True, samples=4)},
        headline=None, headline_tasks=(), selection={"method": label}, training={}, config={},
        evaluation=f"e{label}{seed}", cost=cost,
    )  # fmt: skip


def test_a_report_is_a_run_of_its_own(tmp_path: Path, hf_token: str, run_files: Any, tables_of: Any) -> None:
    """Tables as they are read and as numbers, figures, charts, and the files as an artifact made of evaluations."""
    store, page = tmp_path / "store", tmp_path / "report" / "report.md"
    page.parent.mkdir()
    page.write_text("# Report")
    runs = [run_record("random", 0, 0.25, store), run_record("mig", 0, 0.5, store), run_record("mig", 1, 0.75, store)]
    for run in runs:
        record = {"kind": "evaluation", "name": f"s-{run.label}", "fingerprint": run.evaluation}
        write_json(store / "evaluation" / f"s-{run.label}-{run.evaluation}" / "record.json", record)
        write_json(store / "evaluation" / f"s-{run.label}-{run.evaluation}" / "tasks" / "em.json", {})
    shown = Table(
        name="scores",
        columns=(Column(header="method", numeric=False), Column(header="em", detail="exact_match"), Column(header="n")),
        rows=(
            (Cell(text="mig", value="mig"), Cell(text="0.62 ± 0.18", value=0.625, best=True), Cell(text="2", value=2)),
            (Cell(text=f"random {hf_token}"), Cell(text="0.25", value=0.25), Cell(text="–")),
        ),
    )
    figure = Figure()
    figure.subplots().plot([1, 2])
    picture = Picture(name="curve", figure=figure, caption="It rises.")
    part = Part(name="leaderboard", title="Leaderboard", text=("MIG wins.",), tables=(shown,), pictures=(picture,))
    name = track_report(Report(title="siftune: g", parts=(part,)), runs, [page], TrackingConfig(), store)
    (file,) = run_files(store / "wandb")
    (run,) = file.records("run")
    assert (run.run_id, run.job_type, run.run_group, run.display_name) == (name, "report", "g", "siftune: g")
    tables = tables_of(store)
    assert tables["leaderboard/scores"]["columns"] == ["method", "em (exact_match)", "em (exact_match), number", "n"]
    assert tables["leaderboard/scores"]["data"] == [
        ["mig", "0.62 ± 0.18", 0.625, 2],
        [f"random {REDACTED}", "0.25", 0.25, None],
    ]
    assert tables["leaderboard/text"]["data"] == [["MIG wins."]]
    assert tables["charts/scores_table"]["data"] == [["random", 0.25], ["mig", 0.625]]
    assert sorted(tables["charts/score-against-flops_table"]["data"]) == [
        ["mig", 0, 0.5, 2e9, 6.0],
        ["mig", 1, 0.75, 2e9, 6.0],
        ["random", 0, 0.25, 2e9, 6.0],
    ]
    assert file.charts()["charts/score-against-flops"]["fieldSettings"] == {"x": "FLOPs", "y": "score"}
    (image,) = store.rglob("media/images/leaderboard/*.png")
    assert image.stat().st_size > 1000
    assert file.artifacts() == [
        *(("evaluation", f"evaluation-s-{run.label}-{run.evaluation}", True) for run in runs),
        ("report", f"report-{name}", False),
    ]
