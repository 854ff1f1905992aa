"""What `siftune study simulation` found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from siftune.runs.fingerprint import identity
from siftune.selection.diversity import MEASURES, MeasureSettings
from siftune.selection.measures.simulated_pool import SimulatedPoolSettings
from siftune.selection.measures.simulation import SCENARIOS, order_agreement

HIGH = 0.9
"""A rank correlation from which on sets count as put in order."""
REVERSED = -0.5
"""A mean rank correlation from which down they count as put in the opposite order."""

Verdict = Literal["in order", "unsure", "opposite", "undefined"]


@dataclass(frozen=True, kw_only=True)
class SimulationResult:
    """Values of measures for sets whose order is known."""

    pool: SimulatedPoolSettings
    repeats_in_reference: bool
    """Whether the reference repeated what the pool repeats."""
    rows: int
    """Rows of every set."""
    settings: MeasureSettings
    amounts: Mapping[str, tuple[float, ...]]
    """Scenario -> what was counted of its sets, the least diverse first."""
    values: Mapping[str, Mapping[str, np.ndarray]]
    """Measure -> scenario -> (seeds, levels) float64, NaN where a set has no value."""

    @property
    def seeds(self) -> int:
        """How often all was drawn."""
        return len(next(iter(next(iter(self.values.values())).values())))

    def upward(self, measure: str, scenario: str) -> np.ndarray:
        """(seeds, levels) values, turned so that more is more diverse."""
        return self.values[measure][scenario] * (1 if MEASURES[measure].more_is_more_diverse else -1)

    def agreements(self, measure: str, scenario: str) -> np.ndarray:
        """(seeds,) Spearman's correlation of the values with the known order."""
        more = MEASURES[measure].more_is_more_diverse
        return np.array([order_agreement(sets, more_is_more_diverse=more) for sets in self.values[measure][scenario]])

    def verdict(self, measure: str, scenario: str) -> Verdict:
        """In order: for every seed. Opposite: on average. Undefined: a set has no value of the measure."""
        agreements = self.agreements(measure, scenario)
        if np.isnan(agreements).any():
            return "undefined"
        if (agreements >= HIGH).all():
            return "in order"
        return "opposite" if agreements.mean() <= REVERSED else "unsure"

    def in_order(self, measure: str) -> list[str]:
        """The scenarios whose sets the measure puts in order."""
        return [scenario for scenario in self.amounts if self.verdict(measure, scenario) == "in order"]

    def to_json(self) -> dict[str, Any]:
        """All of it; a value that a set does not have is null."""
        return {
            "pool": identity(self.pool),
            "repeats_in_reference": self.repeats_in_reference,
            "rows": self.rows,
            "settings": identity(self.settings),
            "scenarios": {
                name: {"label": SCENARIOS[name].label, "counted": SCENARIOS[name].counted, "amounts": list(amounts)}
                for name, amounts in self.amounts.items()
            },
            "measures": {name: self._measure_json(name) for name in self.values},
        }

    def _measure_json(self, measure: str) -> dict[str, Any]:
        found = {
            scenario: {
                "verdict": self.verdict(measure, scenario),
                "spearman": _finite(self.agreements(measure, scenario)),
                "values": [_finite(sets) for sets in values],
            }
            for scenario, values in self.values[measure].items()
        }
        return asdict(MEASURES[measure]) | {"in_order": self.in_order(measure), "scenarios": found}


def _finite(values: np.ndarray) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]
