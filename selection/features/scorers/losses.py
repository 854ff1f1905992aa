"""Scores made of a causal language model's losses: perplexities and the instruction-following difficulty."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from siftune.finetune.model_sources import Model, ModelRef
from siftune.selection.features.batching import default_budget
from siftune.selection.features.checks import require_at_least
from siftune.selection.features.scorers.scorer import OpenScorer

Score = Literal["perplexity", "text_perplexity", "response_perplexity", "ifd", "ifd_loss"]
SCORES: tuple[Score, ...] = get_args(Score)


@dataclass(frozen=True, kw_only=True)
class LossScorer:
    """Perplexities of a row under a causal language model, and their ratios (Li et al., arXiv 2308.12032, 2402.00530).

    L = mean of -log p over tokens, each given what comes before it; the tokens are those of all assistant turns in the
    model's chat template, content and end of turn, of the row cut to `max_length`.

    - perplexity: exp L(responses given the prompt), i.e. in the whole conversation
    - text_perplexity: exp L of every token of the conversation but the first
    - response_perplexity: exp L(responses alone): the same tokens after the template's assistant header, all other
      turns left out; a later assistant turn still sees the earlier ones
    - ifd: perplexity / response_perplexity; above 1 where the prompt makes the response less likely
    - ifd_loss: L(responses given the prompt) / L(responses alone), the ratio of the first IFD paper and its code

    Scores with "response" or "ifd" in their name take a second pass, over the responses alone; the others take one.
    """

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""
    model: Model
    """The language model."""
    scores: tuple[Score, ...] | None = None
    """What to compute, always all of it; null: those that the selection method reads."""
    max_length: int = 2048
    """Tokens beyond which a row is cut on the right; cut rows are counted."""
    tokens_per_batch: int | None = field(default=None, metadata={"identity": False})
    """Positions of a batch, padding counted: does not change the result (beyond rounding), only speed and memory.
    null: 1024 on a CPU, 16384 on a GPU."""

    def __post_init__(self) -> None:
        require_at_least(self, "scorer", max_length=2, tokens_per_batch=1)
        if self.scores is None:
            return
        unknown = [score for score in self.scores if score not in SCORES]
        if unknown or not self.scores:
            raise ValueError(f"scorer.scores={list(self.scores)} must name some of {', '.join(SCORES)}")
        # In one order: the same scores are the same artifact.
        object.__setattr__(self, "scores", tuple(score for score in SCORES if score in self.scores))

    @property
    def provides(self) -> tuple[str, ...]:
        """`scores`, or all there are."""
        return self.scores or SCORES

    def only(self, names: Collection[str]) -> LossScorer:
        """The scorer for these scores alone; itself where `scores` says what to compute."""
        if self.scores is not None:
            return self
        return replace(self, scores=tuple(score for score in SCORES if score in names))

    def inputs(self) -> dict[str, str]:
        """Nothing besides the model."""
        return {}

    def open(self, reference: ModelRef | None) -> OpenScorer:
        """Load the model and its tokenizer."""
        # Imported here, so that reading a config does not load torch.
        from siftune.finetune.model import load_causal_lm, load_tokenizer
        from siftune.selection.features.cpu_attention import use_fast_attention
        from siftune.selection.features.forward import require_positions
        from siftune.selection.features.scorers.token_losses import OpenLossScorer

        assert reference is not None, "a loss scorer is opened with the reference of its model"
        model = load_causal_lm(reference, merged=True)
        require_positions(model, self.max_length, "scorer", self.model.name)
        use_fast_attention(model)
        return OpenLossScorer(
            model,
            load_tokenizer(reference),
            scores=self.provides,
            max_length=self.max_length,
            tokens_per_batch=self.tokens_per_batch or default_budget(model.device.type),
        )
