"""DEITA's quality and complexity (Liu et al. 2024, arXiv 2312.15685), and any scorer that answers "1" to "6".

The model reads a turn in the plain text that it was trained with; the score is the expected value of its answer, over
the softmax of its logits of "1" ... "6" where the answer begins. Complexity sees what the user says; quality sees the
response as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from string import Formatter

from siftune.finetune.model_sources import Model, ModelRef
from siftune.selection.features.checks import require_at_least
from siftune.selection.features.scorers.scorer import OpenScorer, Scorer
from siftune.selection.pool.source import TurnReduction

PLACES = frozenset({"query", "response"})
PRODUCT = "deita"


@dataclass(frozen=True, kw_only=True)
class TurnScorer:
    """One score of every turn by a language model that was trained to answer with a number from 1 to 6."""

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""
    model: Model
    """The scorer model."""
    score: str
    """Name of the score."""
    template: str
    """What the model reads, up to where it answers: {query} and {response} are the turn's (other braces doubled)."""
    turn_reduction: TurnReduction = "mean"
    """How the scores of a row's turns become one."""
    max_length: int = 2048
    """Tokens beyond which a turn is cut (the scorers were trained with 2048): what stands last of query and response
    loses its end, the template's own end stays; cut rows are counted."""
    tokens_per_batch: int | None = field(default=None, metadata={"identity": False})
    """Positions of a batch, padding counted: does not change the result (beyond rounding), only speed and memory.
    null: 1024 on a CPU, 16384 on a GPU."""

    def __post_init__(self) -> None:
        require_at_least(self, "scorer", max_length=1, tokens_per_batch=1)
        _check_template(self.template)

    @property
    def provides(self) -> tuple[str, ...]:
        """Its one score."""
        return (self.score,)

    def only(self, names: Collection[str]) -> TurnScorer:
        """Itself."""
        return self

    def inputs(self) -> dict[str, str]:
        """Nothing besides the model."""
        return {}

    def open(self, reference: ModelRef | None) -> OpenScorer:
        """Load the model and its tokenizer."""
        # Imported here, so that reading a config does not load torch.
        from siftune.selection.features.scorers.deita_answers import load_answers
        from siftune.selection.features.scorers.deita_model import OpenTurnScorer

        assert reference is not None, "a turn scorer is opened with the reference of its model"
        return OpenTurnScorer({self.score: load_answers(self, reference)}, {self.score: self.turn_reduction})


@dataclass(frozen=True, kw_only=True)
class DeitaScorer:
    """Quality, complexity and their product over the turns, "deita", which needs both scores of every turn.

    Both models are in memory at the same time. Where the product is not asked for, the one or the other scores alone.
    """

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""
    quality: TurnScorer
    """Scores "quality"."""
    complexity: TurnScorer
    """Scores "complexity"."""
    turn_reduction: TurnReduction = "mean"
    """How "deita" comes from quality x complexity of the turns: DEITA adds them up, MIG averages."""

    def __post_init__(self) -> None:
        for key, part in self.parts.items():
            if part.score != key:
                raise ValueError(f"scorer.{key}.score={part.score!r} must be {key!r} here")

    @property
    def parts(self) -> Mapping[str, TurnScorer]:
        """The two scorers by their scores."""
        return {"quality": self.quality, "complexity": self.complexity}

    @property
    def model(self) -> None:
        """None: it has two."""
        return None

    @property
    def models(self) -> Mapping[str, Model]:
        """The two scorer models."""
        return {key: part.model for key, part in self.parts.items()}

    @property
    def provides(self) -> tuple[str, ...]:
        """Both and their product."""
        return (*self.parts, PRODUCT)

    def only(self, names: Collection[str]) -> Scorer:
        """The one part that is asked for; itself for both or the product."""
        asked = [part for key, part in self.parts.items() if key in names]
        return asked[0] if len(asked) == 1 and PRODUCT not in names else self

    def inputs(self) -> dict[str, str]:
        """Nothing besides the models."""
        return {}

    def located(self, references: Mapping[str, ModelRef]) -> Scorer:
        """The scorer that knows where its models lie."""
        return _LocatedDeita(**vars(self), references=references)

    def open(self, reference: ModelRef | None) -> OpenScorer:
        """Not to be opened before it is `located`."""
        raise AssertionError("a scorer with two models is opened once it is located")


@dataclass(frozen=True, kw_only=True)
class _LocatedDeita(DeitaScorer):
    references: Mapping[str, ModelRef]

    def open(self, reference: ModelRef | None) -> OpenScorer:
        """Load both models."""
        from siftune.selection.features.scorers.deita_answers import load_answers
        from siftune.selection.features.scorers.deita_model import OpenTurnScorer

        models = {key: load_answers(part, self.references[key]) for key, part in self.parts.items()}
        reductions = {key: part.turn_reduction for key, part in self.parts.items()} | {PRODUCT: self.turn_reduction}
        return OpenTurnScorer(models, reductions)


def _check_template(template: str) -> None:
    try:
        places = [place for _, place, _, _ in Formatter().parse(template) if place is not None]
    except ValueError as error:
        raise ValueError(f"scorer.template={template!r}: {error} (double a brace that is meant as such)") from error
    if not places or len(set(places)) < len(places) or not PLACES.issuperset(places):
        raise ValueError(
            f"scorer.template={template!r} must hold {{query}}, {{response}} or both, each once, and no other braces "
            "(double one that is meant as such)"
        )
