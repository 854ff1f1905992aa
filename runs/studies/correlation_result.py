"""What a study of correlations found, and its form on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from siftune.runs.studies.statistics import (
    NO_NUMBER,
    Correlation,
    Resampling,
    correlate,
    correlate_within,
    mean_of_z_scores,
)
from siftune.runs.studies.subsets import StudiedSubset
from siftune.selection.diversity import MEASURES


@dataclass(frozen=True, kw_only=True)
class Study:
    """Subsets, how diverse each is, how good its model is, and how the two go together."""

    subsets: tuple[StudiedSubset, ...]
    tasks: Mapping[str, bool]
    """Benchmark -> whether higher is better."""
    values: Mapping[str, np.ndarray]
    """Measure -> (m,) its values, subset by subset."""
    reasons: Mapping[str, str]
    """Measure -> why a subset has no value of it, where one has none."""
    resampling: Resampling

    @property
    def quality(self) -> np.ndarray:
        """(m,) mean of the benchmarks' z-scores; higher is better."""
        results = np.array([[subset.result(task) for task in self.tasks] for subset in self.subsets])
        return mean_of_z_scores(results, list(self.tasks.values()))

    @property
    def budgets(self) -> list[str]:
        """(m,) the size asked for, subset by subset, smallest first."""
        return [subset.budget for subset in self.subsets]

    def more_is_more(self, measure: str) -> np.ndarray:
        """(m,) the measure's values, turned where less says more diverse."""
        values = self.values[measure]
        return values if MEASURES[measure].more_is_more_diverse else -values


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The correlations of every measure with the quality: positive where more diverse subsets have better models."""

    over_all: Mapping[str, Correlation]
    """Of all subsets, whatever their size."""
    within: Mapping[str, Correlation]
    """The same with measure and quality standardised within each size, so that size does not count."""
    by_size: Mapping[str, Mapping[str, Correlation]]
    """Size -> measure -> of the subsets of this size alone."""

    @property
    def order(self) -> list[str]:
        """The measures, the highest Pearson correlation over all subsets first; those without one last."""

        def key(measure: str) -> tuple[bool, float]:
            found = self.over_all[measure].pearson
            return (found is None, 0.0 if found is None else -found.value)

        return sorted(self.over_all, key=key)


def find(study: Study) -> Findings:
    """Correlate every measure with the quality."""
    quality, budgets = study.quality, study.budgets
    names = np.asarray(budgets)
    sizes = {budget: np.flatnonzero(names == budget) for budget in dict.fromkeys(budgets)}

    def of(rows: np.ndarray) -> dict[str, Correlation]:
        return {
            name: _explained(correlate(study.more_is_more(name)[rows], quality[rows], study.resampling), study, name)
            for name in study.values
        }

    within = {
        name: _explained(correlate_within(study.more_is_more(name), quality, budgets, study.resampling), study, name)
        for name in study.values
    }
    by_size = {budget: of(rows) for budget, rows in sizes.items()} if len(sizes) > 1 else {}
    return Findings(over_all=of(np.arange(len(budgets))), within=within, by_size=by_size)


def _explained(correlation: Correlation, study: Study, measure: str) -> Correlation:
    missing = correlation.note.startswith(NO_NUMBER) and measure in study.reasons
    return replace(correlation, note=f"{correlation.note} ({study.reasons[measure]})") if missing else correlation


def to_json(study: Study, findings: Findings) -> dict[str, Any]:
    """The form in study.json."""
    return {
        "benchmarks": dict(study.tasks),
        "bootstrap": vars(study.resampling),
        "correlations": {
            measure: {
                "label": MEASURES[measure].label,
                "more_is_more_diverse": MEASURES[measure].more_is_more_diverse,
                "all": findings.over_all[measure].to_json(),
                "within_sizes": findings.within[measure].to_json(),
                "by_size": {size: found[measure].to_json() for size, found in findings.by_size.items()},
            }
            for measure in findings.order
        },
        "subsets": [_subset(study, place) for place in range(len(study.subsets))],
    }


def _subset(study: Study, place: int) -> dict[str, Any]:
    subset = study.subsets[place]
    values: Sequence[tuple[str, float]] = [(name, float(values[place])) for name, values in study.values.items()]
    return {
        "methods": subset.methods,
        "budget": subset.budget,
        "rows": len(subset.indices),
        "seeds": list(subset.seeds),
        "runs": [run.fingerprint for run in subset.runs],
        "quality": float(study.quality[place]),
        "benchmarks": {task: subset.result(task) for task in study.tasks},
        "measures": {name: value if np.isfinite(value) else None for name, value in values},
    }
