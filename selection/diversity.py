"""How diverse a set of rows is: NovelSum, and the measures it is compared with (selection/measures)."""

from __future__ import annotations

from siftune.selection.measures.catalogue import MEASURES, Measure
from siftune.selection.measures.novelsum import NovelSumSetting, novelsum, novelsum_grid
from siftune.selection.measures.reference import Finding, Reference
from siftune.selection.measures.settings import MeasureSettings
from siftune.selection.measures.undefined import UndefinedError

__all__ = [
    "MEASURES",
    "Finding",
    "Measure",
    "MeasureSettings",
    "NovelSumSetting",
    "Reference",
    "UndefinedError",
    "novelsum",
    "novelsum_grid",
]
