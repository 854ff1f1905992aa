"""What the stages take, worked out from configs, the models' shapes and the lengths of the pools' rows."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from siftune.evaluate.batch_size import scored_rows
from siftune.finetune.config import FinetuneConfig, world_size
from siftune.runs import cost
from siftune.runs.cost import Cost, ModelShape, Work

if TYPE_CHECKING:
    # The workspace gives its stages their estimates, and only a plan needs what they are made with.
    from siftune.evaluate.suite import Suite
    from siftune.runs.planning.lengths import Lengths
    from siftune.runs.workspace import StoredModel, StoredPool

TRAINING_REMEDY = (
    "a smaller finetune.micro_batch_size or finetune.max_length, finetune.gradient_checkpointing=true, finetune=lora, "
    "or several GPUs that share the model (docs/distributed.md)"
)


class Estimates:
    """Estimates for the stages of a workspace; shapes of models and lengths of rows are looked up once."""

    def __init__(self) -> None:
        self._outlines: dict[str, tuple[ModelShape, Any]] = {}
        self._lengths: dict[tuple[str, str], Lengths] = {}

    def model(self, model: StoredModel) -> Cost:
        """The building of a model."""
        shape = self.shape(model)
        return Cost(memory=shape.parameters * shape.weight_bytes, disk=shape.parameters * shape.weight_bytes)

    def token_counts(self, pool: StoredPool, model: StoredModel) -> Cost:
        """The counting of tokens, which runs no model."""
        tokens = self.lengths(pool, model).cut(model.model.max_length).tokens.sum()
        return Cost(rows=len(pool.pool), tokens=int(tokens), disk=16 * len(pool.pool))

    def embeddings(self, pool: StoredPool, encoder: Any, models: Sequence[StoredModel]) -> Cost:
        """One vector a row."""
        from siftune.runs.planning.reading_cost import sentence_pass
        from siftune.selection.features.encoders.sentence import SentenceEncoder

        number = 2 if getattr(encoder, "storage", "float32") == "float16" else 4
        if isinstance(encoder, SentenceEncoder):
            read, dimension = sentence_pass(encoder, pool.pool, _device())
            return dataclasses.replace(read, disk=len(pool.pool) * dimension * number)
        width: int | None = self.shape(models[0]).hidden_size if models else getattr(encoder, "dimensions", None)
        return self.reading(pool, encoder, models, disk=None if width is None else len(pool.pool) * width * number)

    def tags(self, encoder: Any, model: StoredModel | None, summary: Mapping[str, Any]) -> Cost:
        """The encoding of tags' names that is done."""
        from siftune.runs.planning.reading_cost import tags_pass

        return tags_pass(encoder, None if model is None else self.shape(model), summary["rows"], summary["tokens"])

    def scores(self, pool: StoredPool, scorer: Any, models: Sequence[StoredModel]) -> Cost:
        """One number a row and score."""
        return self.reading(pool, scorer, models, disk=8 * len(pool.pool) * len(scorer.provides))

    def reading(self, pool: StoredPool, config: Any, models: Sequence[StoredModel], disk: int | None = None) -> Cost:
        """A pass over the pool's rows: of an endpoint, or of each model (one after another: they share no memory)."""
        from siftune.runs.planning.reading_cost import endpoint_pass, model_pass

        if getattr(config, "endpoint", None) is not None:
            return dataclasses.replace(endpoint_pass(config, pool.pool), disk=disk)
        passes = [model_pass(config, self.shape(model), self.lengths(pool, model), _device()) for model in models]
        if not passes:
            return Cost(rows=len(pool.pool), disk=disk)
        return dataclasses.replace(
            passes[0],
            tokens=sum(one.tokens or 0 for one in passes),
            flops=_added(one.flops or {} for one in passes),
            formula_flops=sum(one.formula_flops or 0.0 for one in passes),
            memory=sum(one.memory or 0 for one in passes),
            disk=disk,
        )

    def checkpoint(
        self,
        pool: StoredPool,
        rows: np.ndarray,
        model: StoredModel,
        training: FinetuneConfig,
        tokens: float | None = None,
    ) -> Cost:
        """Training on these rows, or on as many like them as have `tokens` tokens."""
        shape, lengths = self.shape(model), self.lengths(pool, model).cut(training.max_length)
        whole, said = (float(part[rows].sum()) for part in (lengths.tokens, lengths.responses))
        share = 1.0 if tokens is None else tokens / whole
        count = max(1, round(share * len(rows)))
        steps = training.max_steps
        times = share * (training.epochs if steps is None else steps * training.global_batch_size / count)
        adapter, recomputed = _adapter(shape, training), _recomputed(training)
        positions = training.micro_batch(world_size()) * int(lengths.tokens[rows].max())
        return Cost(
            rows=count,
            tokens=int(times * whole),
            flops={
                "training": cost.training_flops(
                    shape, times * whole, times * said, adapter=adapter, recomputed=recomputed
                )
            },
            formula_flops=cost.plain_flops(shape, training=times * whole),
            memory=cost.training_memory(
                shape, positions, adapter=adapter, recomputed=recomputed, shards=_processes_sharing()
            ),
            disk=cost.training_disk(shape, adapter=adapter, keep=training.keep_checkpoints, merged=training.merge),
            remedy=TRAINING_REMEDY,
        )

    def trained(self, model: StoredModel, training: FinetuneConfig, summary: Mapping[str, Any]) -> Cost:
        """A training that is done, by its true tokens."""
        shape, tokens, said = self.shape(model), summary["tokens"], summary["trained_tokens"]
        adapter, recomputed = _adapter(shape, training), _recomputed(training)
        flops = cost.training_flops(shape, tokens, said, adapter=adapter, recomputed=recomputed)
        plain = cost.plain_flops(shape, training=tokens)
        return Cost(rows=summary["rows"], tokens=tokens, flops={"training": flops}, formula_flops=plain)

    def drawn_checkpoint(
        self, pool: StoredPool, model: StoredModel, training: FinetuneConfig, fraction: float, kept: int
    ) -> Cost:
        """Training on a part of the pool, of which `kept` checkpoints remain."""
        size = len(pool.pool)
        rows = np.unique(np.linspace(0, size - 1, max(1, round(fraction * size))).round().astype(np.int64))
        found = self.checkpoint(pool, rows, model, dataclasses.replace(training, keep_checkpoints=kept))
        return dataclasses.replace(found, rows=size)

    def gradients(self, pool: StoredPool, model: StoredModel, training: FinetuneConfig, config: Any) -> Cost:
        """A gradient a row, forward and backward: what one epoch of training with a row a step takes."""
        one = dataclasses.replace(
            training,
            epochs=1,
            max_steps=None,
            global_batch_size=1,
            micro_batch_size=1,
            max_length=config.max_length,
            packing=False,
        )
        found = self.checkpoint(pool, np.arange(len(pool.pool)), model, one)
        return dataclasses.replace(found, disk=4 * len(pool.pool) * config.dimension, remedy="a smaller max_length")

    def trajectories(self, pool: StoredPool, model: StoredModel, config: Any) -> Cost:
        """The training of a small model, and a forward pass of each of its checkpoints."""
        trained = self.drawn_checkpoint(pool, model, config.training, config.fraction, config.checkpoints)
        lengths, shape = self.lengths(pool, model).cut(config.max_length), self.shape(model)
        whole, said = config.checkpoints * lengths.tokens.sum(), config.checkpoints * lengths.responses.sum()
        forward: dict[Work, float] = {"forward": cost.forward_flops(shape, whole, said)}
        return dataclasses.replace(
            trained,
            tokens=int((trained.tokens or 0) + whole),
            flops=_added([trained.flops or {}, forward]),
            formula_flops=(trained.formula_flops or 0.0) + cost.plain_flops(shape, whole),
            disk=(trained.disk or 0) + 4 * len(pool.pool) * config.checkpoints,
        )

    def evaluation(self, suite: Suite, pools: Mapping[str, StoredPool], model: StoredModel) -> Cost:
        """The tasks on conversations, whose rows are in `pools`, and those that are judged; nothing is known of
        lm-eval's own."""
        from siftune.runs.planning.evaluation_cost import task_cost
        from siftune.runs.planning.judged_cost import judged_costs

        shape = self.shape(model)
        judged = judged_costs(suite, shape)
        usd = sum(part.usd for part in judged.values() if part.usd is not None) or None
        weights = shape.parameters * shape.weight_bytes
        if set(suite.tasks) - set(pools) - set(judged):
            return Cost(memory=weights, usd=usd)
        lengths = {name: self.lengths(pool, model).cut(model.model.max_length) for name, pool in pools.items()}
        parts = [task_cost(suite.tasks[name], shape, lengths[name], suite.limit_of(name)) for name in pools]
        parts += judged.values()
        longest = max((int(own.tokens.max()) for own in lengths.values()), default=0)
        positions = longest * scored_rows(suite.batch_size, longest, _device())
        return Cost(
            rows=sum(part.rows or 0 for part in parts),
            tokens=sum(part.tokens or 0 for part in parts),
            flops=_added(part.flops or {} for part in parts),
            formula_flops=sum(part.formula_flops or 0.0 for part in parts),
            memory=cost.forward_memory(shape, positions, logits=2 * positions * shape.head // shape.hidden_size),
            usd=usd,
            remedy="a smaller evaluate.batch_size",
        )

    def evaluated(self, model: StoredModel, summary: Mapping[str, Any]) -> Cost:
        """An evaluation that is done, by its true tokens; of tasks from before they were counted nothing is known."""
        shape, counts = self.shape(model), [task.get("tokens") for task in summary["tasks"].values()]
        if not all(counts):
            return Cost()
        read, predicted, written = (sum(count[of] for count in counts) for of in ("read", "predicted", "written"))
        flops: dict[Work, float] = {"forward": cost.forward_flops(shape, read, predicted)}
        if written:
            flops["generation"] = cost.forward_flops(shape, written, written)
        tokens = read + written
        return Cost(tokens=tokens, flops=flops, formula_flops=cost.plain_flops(shape, tokens))

    def shape(self, model: StoredModel) -> ModelShape:
        """The model's sizes."""
        return self._outline(model)[0]

    def lengths(self, pool: StoredPool, model: StoredModel) -> Lengths:
        """Tokens of the pool's rows in the model's chat template."""
        from siftune.runs.planning.lengths import chat_lengths

        key = (pool.fingerprint, model.fingerprint)
        if key not in self._lengths:
            self._lengths[key] = chat_lengths(pool.pool, self._outline(model)[1])
        return self._lengths[key]

    def _outline(self, model: StoredModel) -> tuple[ModelShape, Any]:
        from siftune.finetune.model import resolve_dtype
        from siftune.finetune.outline import outline
        from siftune.runs.planning.model_shape import causal_shape

        if model.fingerprint not in self._outlines:
            config, tokenizer = outline(model.model, model.folder)
            shape = causal_shape(config, resolve_dtype(model.model.dtype).itemsize)
            self._outlines[model.fingerprint] = (shape, tokenizer)
        return self._outlines[model.fingerprint]


def _added(parts: Iterable[Mapping[Work, float]]) -> dict[Work, float]:
    total: dict[Work, float] = {}
    for part in parts:
        for work, flops in part.items():
            total[work] = total.get(work, 0.0) + flops
    return total


def _adapter(shape: ModelShape, training: FinetuneConfig) -> int:
    return 0 if training.lora is None else training.lora.rank * shape.linear_width


def _recomputed(training: FinetuneConfig) -> bool:
    return _device() == "cuda" if training.gradient_checkpointing is None else training.gradient_checkpointing


def _device() -> str:
    from siftune.finetune.model import resolve_device

    return resolve_device().type


def _processes_sharing() -> int:
    """Processes of the launch that each hold a part of the model's state."""
    shared = any(os.environ.get(name) == "true" for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"))
    return world_size() if shared else 1
