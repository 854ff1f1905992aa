"""Scores of a row's text alone: how long it is, and how far it can be compressed. No model is loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from siftune.finetune.model_sources import ModelRef
from siftune.selection.features.encoders.encoder import Progress, Text
from siftune.selection.features.encoders.sentence import text_of
from siftune.selection.features.scorers.scorer import OpenScorer, ScoredBlock
from siftune.selection.pool.rows import Row

NO_TEXT = "no text to compress"


@dataclass(frozen=True, kw_only=True)
class _TextScorer(ABC):
    """What scorers without a model have in common."""

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""

    @property
    def model(self) -> None:
        """None: there is none."""
        return None

    @property
    @abstractmethod
    def provides(self) -> tuple[str, ...]:
        """Names of the scores it computes."""

    def only(self, names: Collection[str]) -> _TextScorer:
        """Itself: the scores cost nothing."""
        return self

    def inputs(self) -> dict[str, str]:
        """Nothing besides the rows."""
        return {}

    def open(self, reference: ModelRef | None) -> OpenScorer:
        """Nothing is loaded."""
        return OpenTextScorer(self)

    @abstractmethod
    def values(self, rows: Sequence[Row]) -> np.ndarray:
        """(n, s) float64, NaN for a row whose text is empty and has no such score."""


@dataclass(frozen=True, kw_only=True)
class LengthScorer(_TextScorer):
    """Characters and words of a row's text; lengths in tokens need no scorer (selection=longest)."""

    text: Text = "response"
    """conversation: every turn. prompt: the turns before the final answer. response: the final answer."""

    @property
    def provides(self) -> tuple[str, ...]:
        """Characters (Unicode code points; a blank line between turns counts), and words, which white space parts."""
        return ("characters", "words")

    def values(self, rows: Sequence[Row]) -> np.ndarray:
        """(n, 2) float64."""
        texts = [text_of(row, self.text) for row in rows]
        return np.array([(len(text), len(text.split())) for text in texts], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class CompressionScorer(_TextScorer):
    """Bytes of a row's text before compression / after it, by zlib at its highest level, as ZIP measures subsets
    (Yin et al. 2024, arXiv 2407.06645): high where much repeats, and below 1 for a few words, which zlib makes longer.
    """

    text: Text = "conversation"
    """conversation: every turn. prompt: the turns before the final answer. response: the final answer."""

    @property
    def provides(self) -> tuple[str, ...]:
        """The ratio."""
        return ("compression",)

    def values(self, rows: Sequence[Row]) -> np.ndarray:
        """(n, 1) float64."""
        from siftune.selection.kernels.compression import Compressors, Prefix

        texts = [text_of(row, self.text).encode() for row in rows]
        with Compressors() as compressors:
            ratios = compressors.ratios(Prefix(), texts)
        return np.where([len(text) > 0 for text in texts], ratios, np.nan)[:, None]


class OpenTextScorer:
    """A scorer of texts, which needs no loading."""

    def __init__(self, config: _TextScorer) -> None:
        self.provides = config.provides
        self._config = config

    def score(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> ScoredBlock:
        """The rows' scores; no token is computed."""
        values = self._config.values(rows)
        progress(len(rows))
        missing = np.flatnonzero(np.isnan(values).any(axis=1)).tolist()
        return ScoredBlock(values, dict.fromkeys(missing, NO_TEXT), truncated=0, tokens=0, positions=0)
