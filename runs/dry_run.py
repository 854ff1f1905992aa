"""`--dry-run`: what a command would read, compute, write and send.

Nothing is kept: a pool that must be read for the plan goes to a folder that is deleted at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from siftune.runs.build import build
from siftune.runs.commands import print_plan, quiet_libraries
from siftune.runs.config import experiment_config, select_config

FLAG = "--dry-run"
Nodes = Sequence[Mapping[str, Any]]


def dry_run(name: str, nodes: Nodes) -> None:
    """Say what the command of this full name would do in these cells; ValueError where it could not."""
    if not nodes:
        _say("the sweeper makes its cells as it goes: what they would take is not known before")
        return
    DRY[name](nodes)


def _run(nodes: Nodes) -> None:
    with _scratch() as scratch:
        print_plan([experiment_config(node) for node in nodes], "table", scratch)


def _select(nodes: Nodes) -> None:
    configs = [select_config(node) for node in nodes]
    with _scratch() as scratch:
        print_plan(configs, "table", scratch)
    for config in configs:
        if config.output is not None:
            _say(f"write: the subset and its card to {config.output}")


def _plan(nodes: Nodes) -> None:
    form = nodes[0]["format"]
    with _scratch() as scratch:
        print_plan([experiment_config(_without(node, "format")) for node in nodes], form, scratch)


def _plan_select(nodes: Nodes) -> None:
    form = nodes[0]["format"]
    with _scratch() as scratch:
        print_plan([select_config(_without(node, "format")) for node in nodes], form, scratch)


def _measure(nodes: Nodes) -> None:
    from siftune.runs.measure import planned
    from siftune.runs.measuring.config import MeasureConfig
    from siftune.runs.planning.steps import plan_of
    from siftune.runs.planning.table import print_table
    from siftune.runs.planning.workspace import PlanningWorkspace

    for node in nodes:
        config: MeasureConfig = build(MeasureConfig, node)
        with _scratch() as scratch:
            workspace = PlanningWorkspace(config.store.absolute(), scratch)
            with redirect_stdout(sys.stderr):
                quiet_libraries()
                names = planned(config, workspace)
                plan = plan_of(workspace, [config.pool.name])
            print_table(plan, Console())
        _say(f"measure: {', '.join(names)}")
        _say(f"write: measures.png, measures.md, measures.json to {config.folder}")


def _correlation(nodes: Nodes) -> None:
    from siftune.runs.studies.correlation import KEY, check_cells
    from siftune.runs.studies.correlation_config import CorrelationStudyConfig

    cells = [_without(node, KEY) for node in nodes]
    check_cells(cells)
    _run(cells)
    measures = build(CorrelationStudyConfig, nodes[0]).study.measures.chosen
    _say(f"then correlate: {len(measures)} measures of the subsets ({', '.join(measures)}) with the scores")
    _say(f"write: study.md, study.json and pictures to a folder study/ of {nodes[0]['store']}")


def _simulation(nodes: Nodes) -> None:
    from siftune.runs.studies.simulation import SimulationStudyConfig
    from siftune.selection.measures.simulation import SCENARIOS

    for node in nodes:
        config: SimulationStudyConfig = build(SimulationStudyConfig, node)
        sets = len(SCENARIOS) * config.levels * config.seeds
        _say(f"measure: {sets} sets of {config.rows} rows, by {', '.join(config.measures.chosen)}")
        _say(f"write: simulation.json, simulation.md, simulation.png to {config.folder}")


def _report(nodes: Nodes) -> None:
    from siftune.runs.report import ReportConfig, load_runs

    for node in nodes:
        config: ReportConfig = build(ReportConfig, node)
        runs = load_runs(config)
        labels = list(dict.fromkeys(run.label for run in runs))
        _say(f"compare: {len(runs)} runs of {config.store}: {', '.join(labels)}")
        parts = {"report.html": config.html, "report.md": config.markdown, "pictures": config.plots}
        files = ", ".join(name for name, wanted in parts.items() if wanted)
        _say(f"write: {files} to {config.folder}" if files else "write: nothing")


def _compare(nodes: Nodes) -> None:
    from siftune.runs.compare import sides_of
    from siftune.runs.comparing.config import CompareConfig
    from siftune.runs.comparing.sides import common_tasks, pair_up

    for node in nodes:
        config: CompareConfig = build(CompareConfig, node)
        a, b = sides_of(config, lambda text: None)
        pairs = pair_up(a, b)
        tasks = ", ".join(common_tasks(pairs, config.tasks))
        _say(f"compare: {a.name} with {b.name}, seeds {', '.join(str(pair.a.seed) for pair in pairs)}, on {tasks}")
        _say(f"write: compare.md, compare.json, flips.jsonl to {config.output or config.store / 'compare'}")


def _export(nodes: Nodes) -> None:
    from siftune.runs.export import DATASET, MODEL
    from siftune.runs.exporting.config import ExportConfig
    from siftune.runs.exporting.sources import find_exported

    for node in nodes:
        config: ExportConfig = build(ExportConfig, node)
        exported = find_exported(config)
        folders = {DATASET: exported.folder if config.what != "model" else None, MODEL: exported.model}
        if config.output.exists() and any(config.output.iterdir()):
            _say(f"delete: the earlier export in {config.output}")
        for name, source in folders.items():
            if source is not None:
                _say(f"write: {config.output / name}, from {source}")
            if source is not None and config.push is not None:
                _say(f"upload: {name} to {config.push} ({'private' if config.private else 'public'})")


def _reads_only(nodes: Nodes) -> None:
    _say("nothing to leave out: this command reads, and writes nothing; start it without --dry-run")


DRY: dict[str, Callable[[Nodes], None]] = {
    "run": _run,
    "select": _select,
    "plan": _plan,
    "plan select": _plan_select,
    "measure": _measure,
    "study correlation": _correlation,
    "study simulation": _simulation,
    "report": _report,
    "compare": _compare,
    "export": _export,
    "runs": _reads_only,
    "methods": _reads_only,
}
"""Full name of a command -> what says what it would do."""


@contextmanager
def _scratch() -> Iterator[Path]:
    with TemporaryDirectory(prefix="siftune-dry-run-") as folder:
        yield Path(folder)


def _without(node: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in node.items() if name != key}


def _say(text: str) -> None:
    Console(highlight=False, soft_wrap=True).print(text, markup=False)
