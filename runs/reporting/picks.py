"""What was picked: the subsets of a report's methods beside their pool, from what the store has of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from siftune.runs.reporting.content import Example, Part, Picture, Table
from siftune.runs.reporting.distributions import (
    SAMPLE,
    SUBSET_SAMPLE,
    distributions_figure,
    features_of,
)
from siftune.runs.reporting.diversity import diversity_of, diversity_table, pool_reference
from siftune.runs.reporting.examples import EXAMPLES, FROM_THE_TOP, examples_of
from siftune.runs.reporting.overlap import by_chance, overlap_figure
from siftune.runs.reporting.plots import sources_figure
from siftune.runs.reporting.pool_map import PoolMap, map_caption, map_figure
from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.rows import sections
from siftune.runs.reporting.subsets import PickedSection, picked_sections
from siftune.runs.reporting.tags import tag_shares, tags_figure
from siftune.selection.measures.reference import Reference

MOST_METHODS = 16
"""More methods than this make pictures that nobody can read: the best ones are shown."""


@dataclass
class _Shared:
    """What the sections of one pool share, by the pool's fingerprint."""

    maps: dict[str, PoolMap] = field(default_factory=dict)
    references: dict[str, Reference] = field(default_factory=dict)


def picks_part(runs: Sequence[RunRecord], store: Path) -> Part | None:
    """Per section of comparable runs what its methods picked; None where no subset is in the store.

    Nothing is computed with a model: what the store does not have (embeddings, tags, scores) is left out."""
    found = picked_sections(runs, store)
    mixtures = _mixtures(runs)
    if not found and not mixtures:
        return None
    tables: list[Table] = []
    pictures: list[Picture] = list(mixtures)
    examples: list[tuple[str, Sequence[Example]]] = []
    text: dict[str, None] = {}
    shared = _Shared()
    for number, section in enumerate(found, start=1):
        suffix = "" if number == 1 else f"-{number}"
        if len(section.methods) > MOST_METHODS:
            text[f"{section.title}: the first {MOST_METHODS} of {len(section.methods)} methods are shown."] = None
            section = replace(section, methods=section.methods[:MOST_METHODS])
        pictures += _pictures(section, suffix, _pool_map(section, found, shared))
        tables += _tables(section, suffix, shared)
        examples += _examples(section, several=len(found) > 1)
    return Part(
        name="picks", title="What was picked", text=tuple(text), tables=tables, pictures=pictures, examples=examples
    )


def _mixtures(runs: Sequence[RunRecord]) -> list[Picture]:
    pictures: list[Picture] = []
    for section in sections(runs):
        figure = sources_figure(section)
        if figure is not None:
            name = "sources" if not pictures else f"sources-{len(pictures) + 1}"
            caption = f"Source mixture of the pool and of each method's picks (mean over seeds), {section.title}."
            pictures.append(Picture(name=name, figure=figure, caption=caption))
    return pictures


def _pictures(section: PickedSection, suffix: str, places: PoolMap | None) -> list[Picture]:
    pictures = [_distributions(section, suffix)]
    shares = tag_shares(section)
    if shares is not None:
        caption = (
            f"Tags, {section.title}: percent of rows that have the tag (the pool's most frequent ones of "
            f"{shares.total:,}), coloured by how many times the pool's share that is."
        )
        pictures.append(Picture(name=f"tags{suffix}", figure=tags_figure(section, shares), caption=caption))
    figure = overlap_figure(section.methods, section.title)
    if figure is not None:
        pictures.append(Picture(name=f"overlap{suffix}", figure=figure, caption=_overlap_caption(section)))
    if places is not None:
        figure = map_figure(section, places)
        pictures.append(Picture(name=f"map{suffix}", figure=figure, caption=map_caption(section, places)))
    return pictures


def _distributions(section: PickedSection, suffix: str) -> Picture:
    features = features_of(section)
    caption = (
        f"{', '.join(feature.name for feature in features).capitalize()} of the pool (grey area) and of each method's "
        f"picks (line, all seeds; the number is their median), {section.title}."
    )
    if len(section.pool) > SAMPLE or any(len(picks.all) > SUBSET_SAMPLE for picks in section.methods):
        caption += f" Texts: {SAMPLE:,} rows of the pool and {SUBSET_SAMPLE:,} picks of a method, drawn at random."
    return Picture(name=f"distributions{suffix}", figure=distributions_figure(section, features), caption=caption)


def _overlap_caption(section: PickedSection) -> str:
    sizes = sorted(len(picks.first) for picks in section.methods)
    chance = by_chance(sizes[0], sizes[-1], len(section.pool))
    return (
        f"Overlap (Jaccard) of what the methods picked, {section.title}: mean over the seeds that both have; on the "
        f"diagonal between the seeds of one method. Two random subsets of these sizes are expected at {chance:.2f}."
    )


def _pool_map(section: PickedSection, all_sections: Sequence[PickedSection], shared: _Shared) -> PoolMap | None:
    pool = section.pool
    if pool.embeddings is None:
        return None
    if pool.fingerprint not in shared.maps:
        own = [other for other in all_sections if other.pool.fingerprint == pool.fingerprint]
        picked: list[np.ndarray] = [picks.first for other in own for picks in other.methods[:MOST_METHODS]]
        shared.maps[pool.fingerprint] = PoolMap(pool, picked)
    return shared.maps[pool.fingerprint]


def _tables(section: PickedSection, suffix: str, shared: _Shared) -> list[Table]:
    pool = section.pool
    if pool.embeddings is None:
        return []
    if pool.fingerprint not in shared.references:
        shared.references[pool.fingerprint] = pool_reference(pool.embeddings[1])
    found = diversity_of(section, shared.references[pool.fingerprint])
    return [] if found is None else [diversity_table(section, found, f"diversity{suffix}")]


def _examples(section: PickedSection, several: bool) -> list[tuple[str, Sequence[Example]]]:
    where = f", {section.title}" if several else ""
    found: list[tuple[str, Sequence[Example]]] = []
    for picks in section.methods:
        total = len(picks.first)
        which = f"the first {FROM_THE_TOP} and others spread over the rest" if total > EXAMPLES else "all"
        found.append((f"{picks.name}: {which} of {total:,} picks (seed {picks.seed}){where}", examples_of(picks)))
    return found
