"""Scores by a reward model: a sequence classifier that reads the conversation."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from siftune.finetune.model_sources import Model, ModelRef
from siftune.selection.features.checks import require_at_least
from siftune.selection.features.scorers.scorer import OpenScorer


@dataclass(frozen=True, kw_only=True)
class RewardScorer:
    """What a reward model says of the whole conversation, in its own chat template: its logit, as it is."""

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""
    model: Model
    """The reward model; Diversify-and-Conquer (arXiv 2409.11378) takes FsfairX-LLaMA3-RM-v0.1."""
    label: int | None = None
    """Which of the model's outputs is the reward; null where it has but one."""
    max_length: int = 4096
    """Tokens beyond which a conversation is cut on the right; cut rows are counted."""
    tokens_per_batch: int | None = field(default=None, metadata={"identity": False})
    """Positions of a batch, padding counted: does not change the result (beyond rounding), only speed and memory.
    null: 1024 on a CPU, 16384 on a GPU."""

    def __post_init__(self) -> None:
        require_at_least(self, "scorer", max_length=1, tokens_per_batch=1, label=0)

    @property
    def provides(self) -> tuple[str, ...]:
        """Its one score."""
        return ("reward",)

    def only(self, names: Collection[str]) -> RewardScorer:
        """Itself."""
        return self

    def inputs(self) -> dict[str, str]:
        """Nothing besides the model."""
        return {}

    def open(self, reference: ModelRef | None) -> OpenScorer:
        """Load the model and its tokenizer."""
        # Imported here, so that reading a config does not load torch.
        from siftune.selection.features.scorers.reward_model import open_reward

        assert reference is not None, "a reward scorer is opened with the reference of its model"
        return open_reward(self, reference)
