"""What the measures of diversity are computed with."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

from siftune.selection.measures.catalogue import MEASURES


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """Which measures, and their hyperparameters."""

    names: tuple[str, ...] = ()
    """Of the measures, names of MEASURES; none: all."""
    neighbors: int = 10
    """Nearest rows of a density (NovelSum) and of the KNN distance. (Yang et al. 2025: 10, for NovelSum.)"""
    neighbor_distance: Literal["kth", "mean"] = "kth"
    """KNN distance: to the last of those neighbours, or the mean over all of them."""
    density_power: float = 0.5
    """NovelSum's beta. (Yang et al. 2025: 0.5.)"""
    distance_power: float = 1.0
    """NovelSum's alpha. (Yang et al. 2025: 1.)"""
    include_self: bool = True
    """NovelSum: count the row itself, at distance 0 and rank 1. (As in the authors' code.)"""
    drop_first_neighbor: bool = False
    """NovelSum: leave the nearest neighbour out of every density, where false only if it is the row itself.
    (The authors' code leaves it out always, which is wrong for a row that is not in the reference.)"""
    clusters: int = 100
    """k-means cells of the partition entropy, centres of the cluster inertia. (The authors: 100 cells.)"""
    cluster_iterations: int = 20
    """How often their centres are moved at most. (As in the authors' code.)"""
    ridge: float = 1.0
    """Added to the diagonal for the log-determinant: of more rows than dimensions it is minus infinity otherwise.
    (The paper names none; with 1, dimensions that no row uses add 0.)"""
    vocd_samples: int = 0
    """vocd-D: random samples of words for every length from 35 to 50; 0: the value that their mean tends to.
    (McKee et al. 2000 and the package lexicalrichness: 100.)"""
    vocd_repeats: int = 3
    """vocd-D from random samples: how often it is taken; the value is the mean. (As in lexicalrichness.)"""
    seed: int = 0
    """Of k-means, and of the random samples of vocd-D."""
    memory_gb: float = field(default=1.0, metadata={"identity": False})
    """Most working memory above the inputs, in GB: references are read in blocks that keep to it."""

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in MEASURES:
                near = get_close_matches(name, MEASURES, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(MEASURES)}"
                raise ValueError(f"measures.names: there is no measure {name!r}; {hint}")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"measures.names={list(self.names)} names a measure twice")
        for key in ("neighbors", "clusters", "cluster_iterations", "vocd_repeats"):
            if getattr(self, key) < 1:
                raise ValueError(f"measures.{key}={getattr(self, key)} must be at least 1")
        for key in ("ridge", "memory_gb"):
            if not 0 < getattr(self, key) < float("inf"):
                raise ValueError(f"measures.{key}={getattr(self, key)} must be a positive number")
        for key in ("density_power", "distance_power"):
            if not abs(getattr(self, key)) < float("inf"):
                raise ValueError(f"measures.{key}={getattr(self, key)} must be finite")
        for key in ("vocd_samples", "seed"):
            if getattr(self, key) < 0:
                raise ValueError(f"measures.{key}={getattr(self, key)} must be at least 0")
        if self.neighbor_distance not in ("kth", "mean"):
            raise ValueError(f"measures.neighbor_distance={self.neighbor_distance!r} is not one of kth, mean")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names, all where none is given."""
        return self.names or tuple(MEASURES)
