"""How closely a measure of sets goes with the quality of the models trained on them: correlations with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST = 3
"""Subsets without which there is nothing to correlate: two always lie on a line."""
NO_NUMBER = "no number for"
_EQUAL = 1e-9
"""Values that differ by less, relative to the largest, differ by rounding alone."""


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How intervals are found: by the bootstrap, over subsets."""

    resamples: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Estimate:
    """A correlation and its interval."""

    value: float
    low: float
    """NaN where the resamples do not vary, as with points on one line."""
    high: float

    def to_json(self) -> dict[str, float | None]:
        """NaN as null, which every reader of JSON knows."""
        return {name: number if np.isfinite(number) else None for name, number in vars(self).items()}


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """One measure against quality, in one set of subsets."""

    subsets: int
    """How many are in it."""
    pearson: Estimate | None
    spearman: Estimate | None
    """Both None where there is none: `note` says why."""
    note: str = ""
    """Why there is none, or which subsets are not in it."""

    def to_json(self) -> dict[str, Any]:
        """The form in study.json."""
        estimates = {"pearson": self.pearson, "spearman": self.spearman}
        shown = {name: None if found is None else found.to_json() for name, found in estimates.items()}
        return {"subsets": self.subsets, **shown, "note": self.note}


def mean_of_z_scores(results: np.ndarray, higher_is_better: Sequence[bool]) -> np.ndarray:
    """(m,) float64 quality of (m, b) results: the mean of the benchmarks' z-scores over the m subsets.

    The sign of a benchmark where lower is better is turned. One in which all subsets are equal says nothing: it counts
    as 0.
    """
    signs = np.where(np.asarray(higher_is_better), 1.0, -1.0)
    mean: np.ndarray = (standardised(results, axis=0) * signs).mean(axis=1)
    return mean


def standardised(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """z-scores along an axis, with the population's deviation (n); zeros where all values are equal."""
    centred = values - values.mean(axis=axis, keepdims=True)
    deviation = values.std(axis=axis, keepdims=True)
    level = np.abs(values).max(axis=axis, keepdims=True)
    varies = deviation > _EQUAL * level
    scores: np.ndarray = np.where(varies, centred / np.where(varies, deviation, 1.0), 0.0)
    return scores


def correlate(values: np.ndarray, quality: np.ndarray, resampling: Resampling) -> Correlation:
    """Of (m,) values of a measure, NaN where a subset has none, and the (m,) qualities.

    There is none where a subset has no value: without it, the measure would be judged on other subsets than the others.
    """
    if note := _missing(values) or _too_few(len(values)) or _constant(values, quality):
        return Correlation(subsets=len(values), pearson=None, spearman=None, note=note)
    return _estimate(values, quality, [np.arange(len(values))], resampling)


def correlate_within(
    values: np.ndarray, quality: np.ndarray, groups: Sequence[str], resampling: Resampling
) -> Correlation:
    """The same with values and qualities standardised inside each group, so that how the groups differ does not count.

    `groups` has one name a subset. A group of fewer than three subsets, or in which the measure or the quality is
    constant, is left out. Resamples are drawn in each group apart, and standardised anew.
    """
    names = np.asarray(groups)
    if note := _missing(values):
        return Correlation(subsets=len(values), pearson=None, spearman=None, note=note)
    kept, notes = [], []
    for name in dict.fromkeys(groups):
        rows = np.flatnonzero(names == name)
        if note := _too_few(len(rows)) or _constant(values[rows], quality[rows]):
            notes.append(f"{name}: {note}")
        else:
            kept.append(rows)
    note = "; ".join(notes)
    if not kept:
        return Correlation(subsets=0, pearson=None, spearman=None, note=note)
    return _estimate(values, quality, kept, resampling, note, inside=True)


def _estimate(
    values: np.ndarray,
    quality: np.ndarray,
    strata: Sequence[np.ndarray],
    resampling: Resampling,
    note: str = "",
    inside: bool = False,
) -> Correlation:
    """BCa intervals (Efron 1987): the percentiles of the resamples, corrected for their bias and skew."""
    import warnings

    from scipy.stats import DegenerateDataWarning, bootstrap

    def statistic(*drawn: np.ndarray, axis: int) -> np.ndarray:
        pairs = [(values[rows], quality[rows]) for rows in drawn]
        if inside:
            pairs = [(standardised(left), standardised(right)) for left, right in pairs]
        left, right = (np.concatenate(side, axis=-1) for side in zip(*pairs, strict=True))
        return np.stack([_pearson(left, right), _spearman(left, right)])

    whole = statistic(*strata, axis=-1)
    # Points on one line, resamples that do not vary: what comes back is NaN, and is shown as no interval.
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", DegenerateDataWarning)
        interval = bootstrap(
            tuple(strata),
            statistic,
            n_resamples=resampling.resamples,
            confidence_level=resampling.confidence,
            method="BCa",
            vectorized=True,
            axis=-1,
            rng=np.random.default_rng(resampling.seed),
        ).confidence_interval
    low, high = (np.clip(side, -1, 1) for side in interval)
    found = [Estimate(*map(float, numbers)) for numbers in zip(np.clip(whole, -1, 1), low, high, strict=True)]
    return Correlation(subsets=sum(map(len, strata)), pearson=found[0], spearman=found[1], note=note)


def _pearson(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Along the last axis; 0 where a resample has one point alone."""
    product: np.ndarray = (standardised(left) * standardised(right)).mean(axis=-1)
    return product


def _spearman(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Pearson's of the ranks, ties sharing theirs."""
    from scipy.stats import rankdata

    return _pearson(rankdata(left, axis=-1), rankdata(right, axis=-1))


def _missing(values: np.ndarray) -> str:
    missing = int((~np.isfinite(values)).sum())
    return f"{NO_NUMBER} {missing} of {len(values)} subsets" if missing else ""


def _too_few(subsets: int) -> str:
    return f"{subsets} subsets are too few" if subsets < LEAST else ""


def _constant(values: np.ndarray, quality: np.ndarray) -> str:
    if not standardised(values).any():
        return "the same for all subsets"
    return "" if standardised(quality).any() else "the quality is the same for all subsets"
