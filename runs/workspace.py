"""The stages of an experiment, each computed once: pools, models, features, picks, checkpoints, evaluations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from siftune.finetune.model_sources import Model, ModelRef, TrainedModel
from siftune.finetune.process import release_memory
from siftune.runs.artifacts import Artifact, Stage, Store
from siftune.runs.console import StageConsole
from siftune.runs.cost import Cost
from siftune.runs.distributed import is_main_process
from siftune.runs.fingerprint import fingerprint
from siftune.runs.planning.estimates import Estimates
from siftune.selection.features.encoders.encoder import Encoder
from siftune.selection.features.runtimes.runtime import LocalRuntime, Runtime
from siftune.selection.features.scorers.scorer import HasModels, Scorer
from siftune.selection.features.taggers.tag_normalisation import TagNormalisation
from siftune.selection.features.taggers.tagger import Tagger
from siftune.selection.pool.source import PoolSource
from siftune.selection.pool.store import Pool, build_pool


@dataclasses.dataclass(frozen=True)
class StoredPool:
    """A pool and the fingerprint that names it."""

    pool: Pool
    artifact: Artifact
    steps: tuple[Artifact, ...] = ()
    """What removed rows from it, in order (runs/pool_steps.py)."""

    @property
    def fingerprint(self) -> str:
        """Of the pool's artifact."""
        return self.artifact.fingerprint


class Workspace:
    """A store, what is printed while it fills, and the list of the stages that were passed."""

    def __init__(self, root: Path, console: StageConsole | None = None, runtime: Runtime | None = None) -> None:
        self.console = console or StageConsole()
        self.runtime: Runtime = runtime or LocalRuntime()
        self.store = Store(root.absolute(), on_wait=self.console.waiting)
        self.passed: dict[str, Artifact] = {}
        self.estimates = Estimates()

    @contextmanager
    def looking(self, inputs: dict[str, str] | None = None, name: str = "") -> Iterator[None]:
        """A block that looks at what stages have found, and perhaps derives by it the input `name` of later ones.

        A plan, for which they have found nothing yet, leaves the block there.
        """
        yield

    @property
    def solo_runtime(self) -> Runtime:
        """For stages that do more than map rows: such a stage is the first process's alone in a distributed launch."""
        return LocalRuntime() if self.runtime.collective else self.runtime

    def ensure(self, stage: Stage, *, collective: bool = False) -> Artifact:
        """Find or compute the stage, with a line on the console."""
        self._reopen_if_damaged(stage, collective)
        if self.store.find(stage) is None:
            self.console.started(stage)
        artifact = self.store.ensure(stage, collective=collective)
        if not artifact.cached:
            release_memory()
        # The first passage tells whether it was computed here; later ones in the same run find it, of course.
        if artifact.fingerprint not in self.passed:
            self.passed[artifact.fingerprint] = artifact
            self.console.finished(artifact, describe(artifact))
        return artifact

    def _reopen_if_damaged(self, stage: Stage, collective: bool) -> None:
        """Once a run, a finished artifact whose bytes have changed since becomes unfinished: what is left is kept."""
        found = self.store.find(stage) if is_main_process() else None
        if found is None or stage.fingerprint in self.passed or stage.intact(found.folder):
            return
        self.console.say(f"[yellow]! {stage.kind}[/] {stage.name}: damaged since it was written ({found.folder})")
        self.store.reopen(stage)
        if collective:
            # The other processes may have taken it for finished already, and would compute none of it.
            raise ValueError(f"{stage.kind} {stage.name} will be mended: start the same command again")

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
        if isinstance(model, TrainedModel):
            # The training's own name, so that a plan sees what a model depends on.
            return StoredModel(model.checkpoint, model, None)
        inputs = model.inputs()
        if not model.needs_build:
            name = fingerprint(version=1, config=model, inputs=inputs)
            return StoredModel(name, model, None)

        def build(folder: Path) -> Mapping[str, Any]:
            model.build(folder)
            return {}

        def cost() -> Cost:
            return self.estimates.model(StoredModel(stage.fingerprint, model, stage.folder(self.store.root)))

        stage = Stage(kind="model", name=model.name, config=model, inputs=inputs, build=build, cost=cost)
        artifact = self.ensure(stage)
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
            Stage(
                kind="tokens",
                name=pool.artifact.record["name"],
                config=config,
                inputs=inputs,
                build=build,
                cost=partial(self.estimates.token_counts, pool, model),
            )
        )

    def embeddings(self, pool: StoredPool, encoder: Encoder) -> Artifact:
        """One vector a row: array embeddings."""
        from siftune.selection.features.encoders.embedding import embed
        from siftune.selection.features.mapping import is_intact

        base = self.model(encoder.model) if encoder.model is not None else None

        def build(folder: Path) -> Mapping[str, Any]:
            reference = base.reference if base else None
            with self.console.progress("encoding rows", total=len(pool.pool)) as bar:
                return dataclasses.asdict(embed(pool.pool, encoder, reference, folder, bar.advance, self.runtime))

        inputs = {"pool": pool.fingerprint, **encoder.inputs(), **({"model": base.fingerprint} if base else {})}
        name = f"{pool.artifact.record['name']}-{encoder.name}"
        intact = partial(is_intact, rows=len(pool.pool))
        cost = partial(self.estimates.embeddings, pool, encoder, [base] if base else [])
        return self.ensure(
            Stage(kind="embeddings", name=name, config=encoder, inputs=inputs, build=build, intact=intact, cost=cost),
            collective=self.runtime.collective,
        )

    def tag_embeddings(self, names: Sequence[str], encoder: Encoder) -> Artifact:
        """One vector a tag, of its text: array embeddings."""
        from siftune.selection.features.encoders.tag_embedding import embed_tags

        base = self.model(encoder.model) if encoder.model is not None else None

        def build(folder: Path) -> Mapping[str, Any]:
            with self.console.progress("encoding tags", total=len(names)) as bar:
                return embed_tags(names, encoder.open(base.reference if base else None), folder, bar.advance)

        inputs = {**encoder.inputs(), **({"model": base.fingerprint} if base else {})}
        config = {"encoder": encoder, "tags": list(names)}

        def spent(summary: Mapping[str, Any]) -> Cost:
            return self.estimates.tags(encoder, base, summary)

        cost = partial(Cost, rows=len(names))
        return self.ensure(
            Stage(kind="tags", name=encoder.name, config=config, inputs=inputs, build=build, cost=cost, spent=spent)
        )

    def tags(self, pool: StoredPool, tagger: Tagger, tag_encoder: Encoder) -> Artifact:
        """tags.parquet, and reasons.jsonl for rows that have none: normalised, where the tagger's config says how."""
        raw = self._raw_tags(pool, tagger)
        if tagger.normalise is None:
            return raw
        return self._normalised_tags(pool, raw, tagger.normalise, tag_encoder)

    def _raw_tags(self, pool: StoredPool, tagger: Tagger) -> Artifact:
        from siftune.selection.features.taggers.tagging import has_whole_tags, tag

        base = self.model(tagger.model) if tagger.model is not None else None

        def build(folder: Path) -> Mapping[str, Any]:
            with self.console.progress("tagging rows", total=len(pool.pool)) as bar:
                reference = base.reference if base else None
                return dataclasses.asdict(tag(pool.pool, tagger, reference, folder, bar.advance, self.solo_runtime))

        inputs = {"pool": pool.fingerprint, **tagger.inputs(), **({"model": base.fingerprint} if base else {})}
        name = f"{pool.artifact.record['name']}-{tagger.name}"
        cost = partial(self.estimates.reading, pool, tagger, [base] if base else [])
        return self.ensure(
            Stage(
                kind="tagging",
                name=name,
                config=tagger,
                inputs=inputs,
                build=build,
                intact=has_whole_tags,
                cost=cost,
            )
        )

    def _normalised_tags(
        self, pool: StoredPool, raw: Artifact, normalise: TagNormalisation, tag_encoder: Encoder
    ) -> Artifact:
        from siftune.selection.features.taggers.tagging import has_whole_tags
        from siftune.selection.features.taggers.tagging import normalise as normalise_tags

        merging = normalise.eps is not None
        base = self.model(tag_encoder.model) if merging and tag_encoder.model is not None else None

        def embed(names: Sequence[str]) -> np.ndarray:
            return array(self.tag_embeddings(names, tag_encoder), "embeddings")

        def build(folder: Path) -> Mapping[str, Any]:
            return dataclasses.asdict(normalise_tags(pool.pool, raw.folder, folder, normalise, embed))

        inputs = {"tags": raw.fingerprint, **(tag_encoder.inputs() if merging else {})}
        config = {"normalise": normalise, "encoder": tag_encoder if merging else None}
        return self.ensure(
            Stage(
                kind="normalised_tags",
                name=raw.record["name"],
                config=config,
                inputs=inputs | ({"model": base.fingerprint} if base else {}),
                build=build,
                intact=has_whole_tags,
                cost=partial(Cost, rows=len(pool.pool)),
            )
        )

    def scores(self, pool: StoredPool, scorer: Scorer, names: Sequence[str]) -> Artifact:
        """One array for each of the scorer's scores that are named, and reasons.jsonl for rows that have none."""
        from siftune.selection.features.mapping import is_intact
        from siftune.selection.features.scorers.histograms import HISTOGRAM_FILE, draw_histograms
        from siftune.selection.features.scorers.scoring import score

        asked = scorer.only(names)
        base = self.model(asked.model) if asked.model is not None else None
        parts = {key: self.model(model) for key, model in asked.models.items()} if isinstance(asked, HasModels) else {}

        def build(folder: Path) -> Mapping[str, Any]:
            references = {key: part.reference for key, part in parts.items()}
            located = asked.located(references) if isinstance(asked, HasModels) else asked
            with self.console.progress("scoring rows", total=len(pool.pool)) as bar:
                reference = base.reference if base else None
                summary = score(pool.pool, located, reference, folder, bar.advance, self.runtime)
            if is_main_process():
                values = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in summary.scores}
                draw_histograms(values, folder / HISTOGRAM_FILE)
            return dataclasses.asdict(summary)

        models = parts | ({"model": base} if base else {})
        inputs = {"pool": pool.fingerprint, **asked.inputs(), **{key: own.fingerprint for key, own in models.items()}}
        name = f"{pool.artifact.record['name']}-{scorer.name}"
        return self.ensure(
            Stage(
                kind="scores",
                version=2,
                name=name,
                config=asked,
                inputs=inputs,
                build=build,
                intact=partial(is_intact, rows=len(pool.pool)),
                cost=partial(self.estimates.scores, pool, asked, list(models.values())),
            ),
            collective=self.runtime.collective,
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
    return artifact.array(name)


def describe(artifact: Artifact) -> str:
    """What came out of a stage, in a few words."""
    summary = artifact.summary
    parts = []
    if "rows" in summary:
        parts.append(f"{summary['rows']:,} rows")
    if summary.get("duplicates"):
        parts.append(f"{summary['duplicates']:,} exact copies {'removed' if summary['deduplicated'] else 'kept'}")
    for key in ("removed", "quarantined", "truncated"):
        if summary.get(key):
            parts.append(f"{summary[key]:,} {key}")
    if summary.get("tokens"):
        parts.append(f"{summary['tokens']:,} tokens")
    if "without_tags" in summary:
        parts.append(f"{summary['tags']:,} tags, {summary['without_tags']:,} rows without one")
    if summary.get("without_value"):
        parts.append(f"{summary['without_value']:,} without a value")
    if summary.get("without_reply"):
        parts.append(f"{summary['without_reply']:,} without a reply")
    if summary.get("cut"):
        parts.append(f"{summary['cut']:,} replies cut")
    usage = summary.get("usage") or {}
    if "requests" in usage:
        parts.append(f"{usage['requests']:,.0f} requests")
    if "usd" in usage:
        parts.append(f"{usage['usd']:,.4g} USD")
    return ", ".join(parts)
