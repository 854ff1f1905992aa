"""The measures of diversity by name: what each is called, reads and says, and which way is more diverse.

They are those of Yang et al. 2025 (arXiv 2502.17184, section 3): eleven that were in use, and NovelSum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Reads = Literal["embeddings", "texts", "reference"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a reader of its figures wants to know of a measure."""

    label: str
    """As tables and plots name it."""
    more_is_more_diverse: bool
    """Whether a larger value says more diverse."""
    reads: Reads
    """The set's embeddings, its texts, or its embeddings beside those of a reference pool."""
    meaning: str
    """What the value is, in a line."""


def _measure(label: str, reads: Reads, meaning: str, *, more: bool = True) -> Measure:
    return Measure(label=label, more_is_more_diverse=more, reads=reads, meaning=meaning)


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "ttr": _measure("TTR", "texts", "different words by all words; falls with the amount of text"),
        "vocd_d": _measure("vocd-D", "texts", "how slowly the share of different words falls with the words drawn"),
        "facility_location": _measure(
            "Facility location",
            "reference",
            "sum over the reference of the distance to the nearest row of the set",
            more=False,
        ),
        "partition_entropy": _measure(
            "Partition entropy", "reference", "bits of the set's shares in the k-means cells of the reference"
        ),
        "cluster_inertia": _measure(
            "Cluster inertia",
            "embeddings",
            "sum of squared distances to the set's own k-means centres",
        ),
        "radius": _measure("Radius", "embeddings", "geometric mean of the standard deviations along the dimensions"),
        "vendi_score": _measure("Vendi score", "embeddings", "effective number of rows that differ, by cosine"),
        "log_det_distance": _measure(
            "Log-determinant distance", "embeddings", "log det of the cosine similarities plus a ridge"
        ),
        "knn_distance": _measure("KNN distance", "embeddings", "mean Euclidean distance to the nearest other rows"),
        "distsum_cosine": _measure("DistSum cosine", "embeddings", "mean cosine distance of two rows"),
        "distsum_l2": _measure("DistSum L2", "embeddings", "mean Euclidean distance of two rows"),
        "novelsum": _measure(
            "NovelSum",
            "reference",
            "mean distance of a row to the others, the nearest weighing most, times its density in the reference",
        ),
    }
)
"""Name -> measure, in the paper's order."""
