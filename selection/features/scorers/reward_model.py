"""A sequence classifier's logit of conversations: the part of the reward scorer that runs the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_layers import GenericForSequenceClassification

from siftune.finetune.chat import ChatTemplateError, encode_text, render_text
from siftune.finetune.model import load_classifier, load_tokenizer
from siftune.finetune.model_sources import ModelRef
from siftune.selection.features.batching import default_budget, padded_positions, plan_batches
from siftune.selection.features.cpu_attention import use_fast_attention
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.forward import padded, require_positions
from siftune.selection.features.scorers.reward import RewardScorer
from siftune.selection.features.scorers.scorer import ScoredBlock
from siftune.selection.features.side_by_side import side_by_side
from siftune.selection.pool.rows import Row

NOT_FINITE = "the model gives no finite reward"


class OpenRewardScorer:
    """A loaded sequence classifier and its tokenizer."""

    provides: tuple[str, ...] = ("reward",)

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        label: int,
        max_length: int,
        tokens_per_batch: int,
    ) -> None:
        config = model.config.get_text_config()
        if config.pad_token_id is None:
            # Without one, a decoder's classifier refuses rows of different lengths.
            config.pad_token_id = tokenizer.pad_token_id
        self._pad_id = int(config.pad_token_id)
        self._model = model
        self._tokenizer = tokenizer
        self._label = label
        self._max_length = max_length
        self._tokens_per_batch = tokens_per_batch
        # Decoders look to the left alone, and padding is on the right: without a mask attention takes its fast path.
        self._masks = not isinstance(model, GenericForSequenceClassification)
        if isinstance(model, GenericForSequenceClassification):
            # Three digits of a bfloat16 logit would leave ties; the head costs nothing.
            model.score.float().register_forward_pre_hook(lambda head, states: (states[0].float(),))

    def score(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> ScoredBlock:
        """Rewards of the rows, which are sorted by length and batched together."""
        return self.score_prepared(self.prepare(rows), progress)

    def prepare(self, rows: Sequence[Row]) -> Prepared:
        """The conversations' tokens."""
        full = [self._tokens(row) for row in rows]
        truncated = sum(len(ids) > self._max_length for ids in full)
        return Prepared([ids[: self._max_length] for ids in full], truncated)

    def score_prepared(self, prepared: Prepared, progress: Progress = lambda rows: None) -> ScoredBlock:
        """The rewards of what `prepare` gave."""
        ids, lengths = prepared.ids, [len(own) for own in prepared.ids]
        values = np.full((len(ids), 1), np.nan)
        batches = plan_batches(lengths, self._tokens_per_batch)
        members = [[ids[i] for i in batch] for batch in batches]
        for batch, found in zip(batches, side_by_side(self._rewards, members, self._model.device), strict=True):
            values[batch, 0] = found
            progress(len(batch))
        values[~np.isfinite(values)] = np.nan
        missing = np.flatnonzero(np.isnan(values[:, 0])).tolist()
        return ScoredBlock(
            values=values,
            reasons=dict.fromkeys(missing, NOT_FINITE),
            truncated=prepared.truncated,
            tokens=sum(lengths),
            positions=padded_positions(lengths, batches),
        )

    def _tokens(self, row: Row) -> list[int]:
        """The conversation with just one BOS, whether template or tokenizer writes it (the model's card likewise)."""
        try:
            text = render_text(self._tokenizer, row.messages)
        except ChatTemplateError as error:
            raise ChatTemplateError(f"row {row.id} ({row.source}): {error}") from error
        ids: list[int] = encode_text(self._tokenizer, text)["input_ids"]
        return ids

    @torch.inference_mode()
    def _rewards(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """(B,) float64."""
        tokens = padded(ids, self._pad_id)
        lengths = torch.tensor([len(own) for own in ids])
        mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).to(self._model.device) if self._masks else None
        logits = self._model(input_ids=tokens.to(self._model.device), attention_mask=mask).logits
        return np.asarray(logits[:, self._label].float().cpu(), dtype=np.float64)


@dataclass(frozen=True)
class Prepared:
    """The tokens of some rows."""

    ids: Sequence[list[int]]
    truncated: int
    """Rows that were cut."""


def open_reward(config: RewardScorer, reference: ModelRef) -> OpenRewardScorer:
    """The reward model and its tokenizer, loaded; ValueError for outputs that `label` does not tell apart."""
    model = load_classifier(reference)
    use_fast_attention(model)
    labels = model.config.num_labels or 1
    if config.label is None and labels > 1:
        raise ValueError(
            f"the model {config.model.name} has {labels} outputs: scorer.label=0 ... {labels - 1} says which of them "
            "is the reward"
        )
    if config.label is not None and config.label >= labels:
        raise ValueError(f"scorer.label={config.label}: the model {config.model.name} has {labels} outputs, from 0 on")
    require_positions(model, config.max_length, "scorer", config.model.name)
    return OpenRewardScorer(
        model,
        load_tokenizer(reference),
        label=config.label or 0,
        max_length=config.max_length,
        tokens_per_batch=config.tokens_per_batch or default_budget(model.device.type),
    )
