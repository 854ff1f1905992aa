"""All measures of sets of rows beside one reference pool, whose own part of the work is done once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from siftune.selection.measures import coverage, lexical, pairs, spectrum
from siftune.selection.measures.blocks import ReferenceRows, block_rows
from siftune.selection.measures.novelsum import novelsum_grid
from siftune.selection.measures.settings import MeasureSettings
from siftune.selection.measures.undefined import UndefinedError


class Finding(NamedTuple):
    """What a measure gave for a set."""

    value: float
    """NaN where the set has none."""
    reason: str | None = None
    """Why there is none."""


class Reference:
    """A pool that sets are measured against, or nothing; keep it for several sets."""

    def __init__(self, embeddings: np.ndarray | None, settings: MeasureSettings) -> None:
        """(r, d) `embeddings` of the pool by the sets' encoder, of any float type, memory-mapped or not.

        Without them facility location and partition entropy have no value, and NovelSum's densities are those of the
        set.
        """
        self._rows = None if embeddings is None else ReferenceRows(embeddings)
        self._settings = settings

    def measure(self, embeddings: np.ndarray | None, texts: Sequence[str] | None = None) -> dict[str, float]:
        """Name -> value of a set's chosen measures; NaN where it has none, which `examine` explains."""
        return {name: finding.value for name, finding in self.examine(embeddings, texts).items()}

    def examine(self, embeddings: np.ndarray | None, texts: Sequence[str] | None = None) -> dict[str, Finding]:
        """Name -> value of a set's chosen measures, or NaN and why there is none.

        Of (n, d) `embeddings` and the n `texts`, what is None leaves the measures that read it without a value.
        ValueError: no rows, shapes that do not fit, NaN or infinite entries, or a limit of memory that is too small.
        """
        if embeddings is not None:
            self._check(embeddings)
            if texts is not None and len(texts) != len(embeddings):
                raise ValueError(f"the set has {len(embeddings):,} embeddings and {len(texts):,} texts")
        one = _Set(embeddings, texts, self._rows, self._settings, self._block_rows(embeddings))
        return {name: _finding(getattr(one, name)) for name in self._settings.chosen}

    def _check(self, embeddings: np.ndarray) -> None:
        if embeddings.ndim != 2 or 0 in embeddings.shape:
            raise ValueError(f"the set has shape {embeddings.shape}, expected (rows, dimension) with at least one row")
        if self._rows is not None and self._rows.embeddings.shape[1] != embeddings.shape[1]:
            dimension = self._rows.embeddings.shape[1]
            raise ValueError(
                f"the set has dimension {embeddings.shape[1]}, the reference has {dimension}: use one encoder"
            )

    def _block_rows(self, embeddings: np.ndarray | None) -> int:
        if embeddings is None:
            return 0
        reference_rows = 0 if self._rows is None else len(self._rows.embeddings)
        size, dimension = embeddings.shape
        return block_rows(self._settings, size, dimension, reference_rows)


def _finding(measure: Callable[[], float]) -> Finding:
    try:
        return Finding(measure())
    except UndefinedError as reason:
        return Finding(float("nan"), str(reason))


class _Set:
    """One set: a method a measure, by the measure's name, and what several of them share."""

    def __init__(
        self,
        embeddings: np.ndarray | None,
        texts: Sequence[str] | None,
        reference: ReferenceRows | None,
        settings: MeasureSettings,
        block_rows: int,
    ) -> None:
        """`block_rows`: of the reference that are searched at a time."""
        self._embeddings, self._texts, self._reference = embeddings, texts, reference
        self._settings, self._block_rows = settings, block_rows

    def ttr(self) -> float:
        return lexical.type_token_ratio(self._counts)

    def vocd_d(self) -> float:
        settings = self._settings
        if not settings.vocd_samples:
            return lexical.vocd(self._counts)
        words = list(lexical.words_of(self._given_texts))
        return lexical.sampled_vocd(
            words, samples=settings.vocd_samples, repeats=settings.vocd_repeats, seed=settings.seed
        )

    def facility_location(self) -> float:
        return coverage.facility_location(self._rows, self._given_reference, rows=self._block_rows)

    def partition_entropy(self) -> float:
        settings = self._settings
        cells = self._given_reference.clusters(settings.clusters, settings.seed, settings.cluster_iterations)
        return coverage.partition_entropy(self._rows, cells)

    def cluster_inertia(self) -> float:
        settings = self._settings
        return pairs.cluster_inertia(
            self._rows,
            clusters=settings.clusters,
            rng=np.random.default_rng(settings.seed),
            max_iterations=settings.cluster_iterations,
        )

    def radius(self) -> float:
        return pairs.radius(self._rows)

    def vendi_score(self) -> float:
        return spectrum.vendi_score(self._eigenvalues, len(self._rows))

    def log_det_distance(self) -> float:
        return spectrum.log_det_distance(self._eigenvalues, len(self._rows), ridge=self._settings.ridge)

    def knn_distance(self) -> float:
        distances = pairs.knn_distance(self._rows, neighbors=self._settings.neighbors)
        return distances.kth if self._settings.neighbor_distance == "kth" else distances.mean

    def distsum_cosine(self) -> float:
        return pairs.distsum_cosine(self._rows)

    def distsum_l2(self) -> float:
        return pairs.distsum_l2(self._rows)

    def novelsum(self) -> float:
        settings = self._settings
        figures = novelsum_grid(
            self._rows,
            self._reference,
            neighbors=[settings.neighbors],
            density_powers=[settings.density_power],
            distance_powers=[settings.distance_power],
            include_self=settings.include_self,
            drop_first_neighbor=settings.drop_first_neighbor,
            rows_at_once=self._block_rows,
        )
        return next(iter(figures.values()))

    @property
    def _rows(self) -> np.ndarray:
        if self._embeddings is None:
            raise UndefinedError("no embeddings were given")
        return self._embeddings

    @property
    def _given_texts(self) -> Sequence[str]:
        if self._texts is None:
            raise UndefinedError("no texts were given")
        return self._texts

    @property
    def _given_reference(self) -> ReferenceRows:
        if self._reference is None:
            raise UndefinedError("no reference pool was given")
        return self._reference

    @cached_property
    def _counts(self) -> Mapping[str, int]:
        return Counter(lexical.words_of(self._given_texts))

    @cached_property
    def _eigenvalues(self) -> np.ndarray:
        return spectrum.eigenvalues(self._rows)
