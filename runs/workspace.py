"""The stages of an experiment, each computed once: pools, models, features, picks, checkpoints, evaluations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from siftune.finetune.model_sources import Model, ModelRef
from siftune.runs.artifacts import Artifact, Stage, Store
from siftune.runs.console import StageConsole
from siftune.runs.distributed import is_main_process
from siftune.runs.fingerprint import fingerprint
from siftune.selection.features.encoder import Encoder
from siftune.selection.features.scorer import Scorer
from siftune.selection.pool.source import PoolSource
from siftune.selection.pool.store import Pool, build_pool


@dataclasses.dataclass(frozen=True)
class StoredPool:
    """A pool and the fingerprint that names it."""

    pool: Pool
    artifact: Artifact

    @property
    def fingerprint(self) -> str:
        """Of the pool's artifact."""
        return self.artifact.fingerprint


class Workspace:
    """A store, what is printed while it fills, and the list of the stages that were passed."""

    def __init__(self, root: Path, console: StageConsole | None = None) -> None:
        self.console = console or StageConsole()
        self.store = Store(root.absolute(), on_wait=self.console.waiting)
        self.passed: dict[str, Artifact] = {}

    def ensure(self, stage: Stage, *, collective: bool = False) -> Artifact:
        """Find or compute the stage, with a line on the console."""
        self._reopen_if_damaged(stage)
        if self.store.find(stage) is None:
            self.console.started(stage)
        artifact = self.store.ensure(stage, collective=collective)
        # The first passage tells whether it was computed here; later ones in the same run find it, of course.
        if artifact.fingerprint not in self.passed:
            self.passed[artifact.fingerprint] = artifact
            self.console.finished(artifact, describe(artifact))
        return artifact

    def _reopen_if_damaged(self, stage: Stage) -> None:
        """Once a run, a finished artifact whose bytes have changed since becomes unfinished: what is left is kept."""
        found = self.store.find(stage) if is_main_process() else None
        if found is None or stage.fingerprint in self.passed or stage.intact(found.folder):
            return
        self.console.say(f"[yellow]! {stage.kind}[/] {stage.name}: damaged since it was written ({found.folder})")
        self.store.reopen(stage)

    def pool(self, source: PoolSource) -> StoredPool:
        """The normalised pool."""

        def build(folder: Path) -> Mapping[str, Any]:
            with self.console.progress("reading rows", total=None) as bar:
                return dataclasses.asdict(build_pool(source, folder, progress=bar.set))

        stage = Stage(kind="pool", name=source.name, config=source, inputs=source.inputs(), build=build)
        artifact = self.ensure(stage)
        return StoredPool(Pool.open(artifact.folder), artifact)

    def model(self, model: Model) -> StoredModel:
        """The base model, ready to be loaded."""
        inputs = model.inputs()
        if not model.needs_build:
            name = fingerprint(version=1, config=model, inputs=inputs)
            return StoredModel(name, model, None)

        def build(folder: Path) -> Mapping[str, Any]:
            model.build(folder)
            return {}

        artifact = self.ensure(Stage(kind="model", name=model.name, config=model, inputs=inputs, build=build))
        return StoredModel(artifact.fingerprint, model, artifact.folder)

    def token_counts(self, pool: StoredPool, model: StoredModel) -> Artifact:
        """Tokens of every row in the model's chat template: arrays num_tokens and num_response_tokens."""
        from siftune.finetune.model import load_tokenizer
        from siftune.selection.features.tokens import count_tokens

        def build(folder: Path) -> Mapping[str, Any]:
            with self.console.progress("counting tokens", total=len(pool.pool)) as bar:
                return dataclasses.asdict(
                    count_tokens(
                        pool.pool, load_tokenizer(model.reference), folder, model.reference.max_length, bar.advance
                    )
                )

        inputs = {"pool": pool.fingerprint, "model": model.fingerprint}
        config = {"max_length": model.reference.max_length}
        return self.ensure(
            Stage(kind="tokens", name=pool.artifact.record["name"], config=config, inputs=inputs, build=build)
        )

    def embeddings(self, pool: StoredPool, encoder: Encoder) -> Artifact:
        """One vector a row: array embeddings."""
        from siftune.selection.features.embedding import embed
        from siftune.selection.features.mapping import is_intact

        base = self.model(encoder.model) if encoder.model is not None else None

        def build(folder: Path) -> Mapping[str, Any]:
            reference = base.reference if base else None
            with self.console.progress("encoding rows", total=len(pool.pool)) as bar:
                return dataclasses.asdict(embed(pool.pool, encoder, reference, folder, bar.advance))

        inputs = {"pool": pool.fingerprint, **encoder.inputs(), **({"model": base.fingerprint} if base else {})}
        name = f"{pool.artifact.record['name']}-{encoder.name}"
        intact = partial(is_intact, rows=len(pool.pool))
        return self.ensure(
            Stage(kind="embeddings", name=name, config=encoder, inputs=inputs, build=build, intact=intact)
        )

    def tag_embeddings(self, names: Sequence[str], encoder: Encoder) -> Artifact:
        """One vector a tag, of its text: array embeddings."""
        from siftune.selection.features.tag_embedding import embed_tags

        base = self.model(encoder.model) if encoder.model is not None else None

        def build(folder: Path) -> Mapping[str, Any]:
            with self.console.progress("encoding tags", total=len(names)) as bar:
                return embed_tags(names, encoder.open(base.reference if base else None), folder, bar.advance)

        inputs = {**encoder.inputs(), **({"model": base.fingerprint} if base else {})}
        config = {"encoder": encoder, "tags": list(names)}
        return self.ensure(Stage(kind="tags", name=encoder.name, config=config, inputs=inputs, build=build))

    def scores(self, pool: StoredPool, scorer: Scorer, names: Sequence[str]) -> Artifact:
        """One array for each of the scorer's scores that are named, and reasons.jsonl for rows that have none."""
        from siftune.selection.features.mapping import is_intact
        from siftune.selection.features.scoring import score

        asked = scorer.only(names)
        base = self.model(scorer.model) if scorer.model is not None else None

        def build(folder: Path) -> Mapping[str, Any]:
            with self.console.progress("scoring rows", total=len(pool.pool)) as bar:
                reference = base.reference if base else None
                return dataclasses.asdict(score(pool.pool, asked, reference, folder, bar.advance))

        inputs = {"pool": pool.fingerprint, **scorer.inputs(), **({"model": base.fingerprint} if base else {})}
        name = f"{pool.artifact.record['name']}-{scorer.name}"
        intact = partial(is_intact, rows=len(pool.pool))
        return self.ensure(
            Stage(kind="scores", version=2, name=name, config=asked, inputs=inputs, build=build, intact=intact)
        )


@dataclasses.dataclass(frozen=True)
class StoredModel:
    """A base model and the fingerprint that names it."""

    fingerprint: str
    model: Model
    folder: Path | None

    @cached_property
    def reference(self) -> ModelRef:
        """Where to load it from."""
        return self.model.reference(self.folder)


def array(artifact: Artifact, name: str) -> np.ndarray:
    """An array of a finished artifact, memory-mapped."""
    mapped: np.ndarray = np.load(artifact.folder / f"{name}.npy", mmap_mode="r")
    return mapped


def describe(artifact: Artifact) -> str:
    """What came out of a stage, in a few words."""
    summary = artifact.summary
    parts = []
    if "rows" in summary:
        parts.append(f"{summary['rows']:,} rows")
    if summary.get("duplicates"):
        parts.append(f"{summary['duplicates']:,} exact copies {'removed' if summary['deduplicated'] else 'kept'}")
    for key in ("quarantined", "truncated"):
        if summary.get(key):
            parts.append(f"{summary[key]:,} {key}")
    if summary.get("tokens"):
        parts.append(f"{summary['tokens']:,} tokens")
    return ", ".join(parts)
