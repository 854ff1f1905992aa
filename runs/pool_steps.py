"""What is done to a pool before anything is computed from it: test documents and near-duplicates go.

Test documents first: the report then names every row that holds one, its copies too, and of the rows that stay the
first of each kind is a clean one. Query rows and held-out rows are not touched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from siftune.evaluate.contamination import Decontaminate, by_task, pool_overlaps
from siftune.evaluate.documents import read_documents, write_documents
from siftune.evaluate.suite import Suite
from siftune.runs.artifacts import Artifact, Stage
from siftune.runs.config import SignalsConfig
from siftune.runs.cost import Cost
from siftune.runs.fingerprint import plain
from siftune.runs.workspace import StoredPool, Workspace
from siftune.selection.pool.near_duplicates import NearDuplicates, find_near_duplicates
from siftune.selection.pool.removal import EXCERPT, REMOVED_FILE, REPORT_FILE, Removal, cell, excerpt, remove_rows
from siftune.selection.pool.store import Pool


def prepared_pool(config: SignalsConfig, workspace: Workspace) -> StoredPool:
    """The pool of an experiment after its steps, each an artifact with a report of its own."""
    pool = workspace.pool(config.pool)
    if config.decontaminate is not None:
        assert config.evaluate is not None, "refused by the config"
        pool = _decontaminated(pool, config.decontaminate, config.evaluate, workspace)
    if config.near_duplicates is not None:
        pool = _distinct(pool, config.near_duplicates, workspace)
    return pool


def reports(pool: StoredPool) -> dict[str, Path]:
    """Name for a copy -> file, of the reports on the pool's steps."""
    return {
        f"{step.record['summary']['step']}-{file}": step.folder / file
        for step in pool.steps
        for file in (REMOVED_FILE, REPORT_FILE)
    }


def documents_stage(suite: Suite, workspace: Workspace) -> Stage:
    """The test documents of a suite, read once."""

    def build(folder: Path) -> Mapping[str, Any]:
        counts = write_documents(suite, folder, lambda source: workspace.pool(source).pool)
        return {"documents": sum(counts.values()), "tasks": counts}

    # What is read, not how it is evaluated: another metric or limit has the same documents.
    config = {name: getattr(task, "data", None) for name, task in suite.tasks.items()}
    return Stage(kind="documents", name=suite.name, config=config, inputs=suite.inputs(), build=build)


def _decontaminated(pool: StoredPool, config: Decontaminate, suite: Suite, workspace: Workspace) -> StoredPool:
    documents = documents_stage(suite, workspace)

    def build(folder: Path) -> Mapping[str, Any]:
        # Through the store, as a plan, which reads pools, notes other stages without computing them.
        read = read_documents(workspace.store.ensure(documents).folder)
        with workspace.console.progress("comparing rows with test documents", total=len(pool.pool)) as bar:
            found = pool_overlaps(pool.pool, read, config, bar.advance)
        worst = found.worst()
        removals = []
        for row, place, share in zip(worst.row.tolist(), worst.document.tolist(), worst.share.tolist(), strict=True):
            document = read[place]
            why = f"holds {share:.0%} of a test question of {document.task}"
            removals.append(Removal(row, why, document.id, document.task, document.question[:EXCERPT], share))
        tasks = by_task(found, read)
        notes = [
            f"Test documents of `{suite.name}`; {_settings(config)}",
            "\n".join(
                [
                    "| task | documents | searched | in the pool | share | rows |",
                    "|---|---:|---:|---:|---:|---:|",
                    *(
                        f"| {cell(name)} | {task.documents:,} | {task.searched:,} | {len(task.contaminated):,} | "
                        f"{task.share:.1%} | {task.rows:,} |"
                        for name, task in tasks.items()
                    ),
                ]
            ),
        ]
        summary = remove_rows(pool.artifact.folder, folder, removals, "Test documents", notes)
        return {"step": "decontaminate", **summary, "tasks": {n: dataclasses.asdict(t) for n, t in tasks.items()}}

    inputs = {"pool": pool.fingerprint, "documents": documents.fingerprint}
    return _step(pool, "decontaminated", config, inputs, build, workspace)


def _distinct(pool: StoredPool, config: NearDuplicates, workspace: Workspace) -> StoredPool:
    def build(folder: Path) -> Mapping[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        with workspace.console.progress("comparing rows with each other", total=2 * len(pool.pool)) as bar:
            copies = find_near_duplicates(pool.pool, config, folder, bar.advance)
        removals = [
            _copy(pool.pool, row, int(copies.copy_of[row]), float(copies.similarity[row]))
            for row in (copies.copy_of >= 0).nonzero()[0].tolist()
        ]
        notes = [f"Of rows that say nearly the same, the first stays. {_settings(config)}"]
        summary = remove_rows(pool.artifact.folder, folder, removals, "Near-duplicates", notes)
        return {"step": "near_duplicates", **summary, "compared": copies.compared}

    return _step(pool, "distinct", config, {"pool": pool.fingerprint}, build, workspace)


def _copy(pool: Pool, row: int, kept: int, similarity: float) -> Removal:
    of = pool.row(kept)
    why = f"near-duplicate of row {of.id} of {of.source} (Jaccard similarity {similarity:.2f})"
    return Removal(row, why, of.id, of.source, excerpt(of.messages), similarity)


def _step(
    pool: StoredPool, what: str, config: Any, inputs: Mapping[str, str], build: Any, workspace: Workspace
) -> StoredPool:
    stage = Stage(
        kind="pool",
        name=f"{pool.artifact.record['name']}-{what}",
        config=config,
        inputs=inputs,
        build=build,
        cost=partial(Cost, rows=len(pool.pool)),
    )
    artifact = workspace.ensure(stage)
    _say(artifact, workspace)
    return StoredPool(Pool.open(artifact.folder), artifact, (*pool.steps, artifact))


def _say(artifact: Artifact, workspace: Workspace) -> None:
    removed = artifact.summary["removed_by_source"]
    if not removed:
        workspace.console.say("  no row removed")
        return
    most = ", ".join(f"{name} {count:,}" for name, count in list(removed.items())[:3])
    more = f" and {len(removed) - 3} more sources" if len(removed) > 3 else ""
    workspace.console.say(
        f"  {artifact.summary['removed']:,} rows removed ({most}{more}): {artifact.folder / REPORT_FILE}"
    )


def _settings(config: Any) -> str:
    values = {key: value for key, value in plain(config).items() if key != "class"}
    return "Settings: " + ", ".join(f"{key} {value}" for key, value in values.items()) + "."
