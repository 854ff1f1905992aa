"""Settings of measures: what is refused, and by what message."""

from __future__ import annotations

from typing import Any

import pytest

from siftune.selection.measures.catalogue import MEASURES
from siftune.selection.measures.settings import MeasureSettings


def test_no_names_mean_all() -> None:
    assert MeasureSettings().chosen == tuple(MEASURES)
    assert len(MEASURES) == 12
    assert MeasureSettings(names=("radius", "ttr")).chosen == ("radius", "ttr")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"names": ("compression",)}, "there is no measure 'compression'; there are: ttr, "),
        ({"names": ("vendi_scores",)}, "did you mean 'vendi_score'"),
        ({"names": ("ttr", "ttr")}, "names a measure twice"),
        ({"neighbors": 0}, "measures.neighbors=0 must be at least 1"),
        ({"clusters": 0}, "measures.clusters=0"),
        ({"cluster_iterations": 0}, "measures.cluster_iterations=0"),
        ({"vocd_repeats": 0}, "measures.vocd_repeats=0"),
        ({"ridge": 0.0}, r"measures.ridge=0.0 must be a positive"),
        ({"memory_gb": float("nan")}, "measures.memory_gb=nan"),
        ({"density_power": float("inf")}, "measures.density_power=inf must be finite"),
        ({"vocd_samples": -1}, "measures.vocd_samples=-1 must be at least 0"),
        ({"neighbor_distance": "last"}, "measures.neighbor_distance='last' is not one of kth, mean"),
    ],
)
def test_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MeasureSettings(**fields)
