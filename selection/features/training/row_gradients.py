"""Projected gradients of rows: the part that runs the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from siftune.finetune import cpu_head
from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.snapshots import load_moments
from siftune.selection.features.batching import default_budget, padded_positions, plan_batches
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.forward import last_hidden_states, padded, require_positions
from siftune.selection.features.scorers.token_losses import NO_RESPONSE, NOT_FINITE
from siftune.selection.features.shards import Block
from siftune.selection.features.tokens import tokenize_row
from siftune.selection.features.training.adam_direction import AdamDirection
from siftune.selection.features.training.gradients import GradientJob
from siftune.selection.features.training.projection import Projection
from siftune.selection.features.training.sample_gradients import AdapterLayer, hand_on_gradients
from siftune.selection.pool.rows import Row


@dataclass(frozen=True)
class Example:
    """A row's tokens up to the last that the assistant says, after which nothing has a gradient."""

    ids: list[int]
    targets: np.ndarray
    """(s,) int64 positions, from 1, of the tokens whose loss counts."""
    truncated: bool


class OpenGradients:
    """A loaded model with the adapter of a checkpoint, which it is changed for: it is for gradients alone."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        projection: Projection,
        *,
        max_length: int,
        tokens_per_batch: int,
    ) -> None:
        """`model` as peft wraps it."""
        self.layers = hand_on_gradients(model, self._take)
        self.direction: AdamDirection | None = None
        """What the gradients are turned into; None: they are left as they are."""
        base: Any = model
        self._model: PreTrainedModel = base.get_base_model()
        self._tokenizer = tokenizer
        self._projection = projection
        self._max_length = max_length
        self._tokens_per_batch = tokens_per_batch
        self._total = torch.empty(0)

    @classmethod
    def load(cls, job: GradientJob) -> OpenGradients:
        """The model of a job."""
        model = load_causal_lm(job.reference)
        require_positions(model, job.max_length, "gradients", "the model")
        opened = cls(
            model,
            load_tokenizer(job.reference),
            Projection(job.dimension, job.projection, job.seed),
            max_length=job.max_length,
            tokens_per_batch=job.tokens_per_batch or default_budget(model.device.type),
        )
        if job.preconditioner is not None:
            assert job.reference.adapter is not None, "the adapter's folder has the moments"
            moments = load_moments(Path(job.reference.adapter))
            opened.direction = AdamDirection(job.preconditioner, moments, opened.layers)
        return opened

    def prepare(self, rows: Sequence[Row]) -> list[Example]:
        """The rows' tokens."""
        return [self._example(row) for row in rows]

    def compute(self, rows: Sequence[Row], prepared: list[Example], progress: Progress) -> Block:
        """Array gradients: (n, p) float32, NaN in rows without a response within the maximum length."""
        found = np.full((len(rows), self._projection.dimension), np.nan, dtype=np.float32)
        able = np.flatnonzero([len(example.targets) for example in prepared])
        lengths = [len(prepared[row].ids) for row in able]
        batches = plan_batches(lengths, self._tokens_per_batch)
        progress(len(rows) - len(able))
        for batch in batches:
            found[able[batch]] = self.gradients([prepared[row] for row in able[batch]])
            progress(len(batch))
        missing = np.flatnonzero(~np.isfinite(found).all(axis=1))
        found[missing] = np.nan
        note = {
            "truncated": sum(example.truncated for example in prepared),
            "tokens": sum(lengths),
            "positions": padded_positions(lengths, batches),
            "reasons": [[int(row), NOT_FINITE if len(prepared[row].targets) else NO_RESPONSE] for row in missing],
        }
        return Block({"gradients": found}, note)

    def gradients(self, examples: Sequence[Example]) -> np.ndarray:
        """(n, p) float32 of one batch: each row's gradient of its own mean loss, turned and projected."""
        counts = torch.tensor([len(example.targets) for example in examples])
        rows = torch.repeat_interleave(torch.arange(len(examples)), counts)
        columns = torch.from_numpy(np.concatenate([example.targets for example in examples]))
        tokens = padded([example.ids for example in examples], int(self._tokenizer.pad_token_id))
        device = self._model.device
        places, targets = (rows.to(device), (columns - 1).to(device)), tokens[rows, columns].to(device)
        weights = (1 / counts)[rows].to(device)
        self._total = torch.zeros(len(examples), self._projection.dimension, device=device)
        with torch.enable_grad():
            self._loss(tokens.to(device), places, targets, weights).backward()
        return np.asarray(self._total.cpu())

    def _loss(
        self,
        tokens: torch.Tensor,
        places: tuple[torch.Tensor, torch.Tensor],
        targets: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        """A loss with the gradient of sum_i weights_i * loss_i."""
        if tokens.device.type == "cpu" and cpu_head.supports(self._model):
            states = last_hidden_states(self._model.base_model, tokens)[places]
            # The kernel sums losses unweighted; each depends on its own state alone, whose gradient takes the weight.
            states.register_hook(lambda grad: grad * weights[:, None].to(grad.dtype))
            return cpu_head.SummedCrossEntropy.apply(states, self._model.get_output_embeddings().weight, targets)
        logits = self._model(input_ids=tokens, use_cache=False).logits[places]
        return (torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none") * weights).sum()

    def _take(self, layer: AdapterLayer, gradients: torch.Tensor) -> None:
        turned = gradients if self.direction is None else self.direction(layer, gradients)
        self._projection.add(self._total, turned, layer.offset)

    def _example(self, row: Row) -> Example:
        tokens = tokenize_row(self._tokenizer, row, self._max_length)
        targets = 1 + np.flatnonzero(np.array(tokens.assistant_mask[1:], dtype=bool))
        stop = int(targets[-1]) + 1 if len(targets) else 0
        return Example(tokens.input_ids[:stop], targets, tokens.truncated)
