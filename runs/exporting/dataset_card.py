"""README.md of an exported data set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siftune.runs.exporting.sources import Exported
from siftune.runs.exporting.statistics import Statistics
from siftune.selection.interface import Budget
from siftune.selection.pool.licences import NONE_KNOWN, common_licence
from siftune.selection.pool.removal import cell
from siftune.selection.pool.subset_card import amount_asked, how_to_load, mixture_table

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, kw_only=True)
class Remaking:
    """The command that makes it again, and what is known of it."""

    text: str
    note: str

    def section(self) -> list[str]:
        """Of a card."""
        return ["## How to make it again", "", "```sh", self.text, "```", "", self.note, ""]


def version_of(record: Mapping[str, Any]) -> str:
    """The siftune that made an artifact."""
    commit = record.get("commit")
    where = "" if not commit else f", commit `{commit.rstrip('+')}`" + (" with changes" if commit.endswith("+") else "")
    return record["versions"].get("siftune", "?") + where


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What the card of a data set says beside the records."""

    columns: Sequence[str]
    """Lines of YAML: data file and columns."""
    json_columns: Sequence[str]
    inputs: Sequence[tuple[str, str, str]]
    """(what, name, fingerprint) of what the picks were computed from."""
    pool_files: Mapping[str, str]
    """What of the pool was read -> its digest or commit."""
    statistics: Statistics
    remaking: Remaking
    repo: str
    """Where it is loaded from."""


def dataset_card(exported: Exported, facts: DatasetFacts) -> str:
    """README.md of the data set."""
    summary, statistics = exported.record["summary"], facts.statistics
    pool = _pool_name(exported)
    lines = [
        "---",
        *_dataset_metadata(statistics, f"{statistics.rows} rows of {pool} picked by {summary['method']}"),
        *facts.columns,
        "---",
        "",
        f"# {statistics.rows:,} rows of `{pool}` picked by {summary['method']}",
        "",
        "A subset of a pool of instruction-tuning conversations, picked by siftune.",
        "",
        *_provenance(exported, facts, pool),
        *facts.remaking.section(),
        *_sources(summary),
        *_licences(statistics),
        *_lengths(statistics),
        *how_to_load(facts.repo),
        "",
        "`messages` is the conversation (role, content), as TRL's `SFTTrainer` takes it. Rows stand in the order",
        "picked (`rank`); `gain` is the method's score at the pick, null where it has none; `pool_row` is the row's",
        "place in the pool.",
        "",
    ]
    if facts.json_columns:
        names = ", ".join(f"`{name}`" for name in facts.json_columns)
        lines += [f"Values of several types are JSON text, to be parsed: {names}.", ""]
    return "\n".join(lines)


def _pool_name(exported: Exported) -> str:
    """Of a pool that is called `file`, the file's."""
    if exported.config is None:
        return "a pool"
    pool = exported.config["pool"]
    name, path = str(pool["name"]), pool.get("path")
    return (Path(path).name if Path(path).is_absolute() else path) if path and name == "file" else name


def _dataset_metadata(statistics: Statistics, title: str) -> Iterator[str]:
    licence = common_licence(licence for _, licence, _ in statistics.licences)
    if licence is not None:
        yield f"license: {licence}"
    yield f"pretty_name: {json.dumps(title, ensure_ascii=False)}"
    yield from ("task_categories:", "- text-generation", "size_categories:")
    yield f"- {next((name for limit, name in _SIZES if statistics.rows < limit), '1M<n<10M')}"
    yield from ("tags:", "- siftune", "- instruction-tuning", "- data-selection")


def _provenance(exported: Exported, facts: DatasetFacts, pool: str) -> Iterator[str]:
    record, summary = exported.record, exported.record["summary"]
    # The record of a subset that was picked in rounds has only what the last one added.
    config = dict(exported.config or {}) | {key: value for key, value in record["config"].items() if key != "class"}
    method = config.get("selection") or {}
    yield from ("## Where it comes from", "", "| | |", "|---|---|")
    yield f"| pool | `{cell(pool)}`, {summary['pool_rows']:,} rows, fingerprint `{record['inputs'].get('pool', '?')}` |"
    for what, digest in facts.pool_files.items():
        yield f"| {cell(what)} | `{cell(digest)}` |"
    yield f"| method | `{method.get('class', summary['method'])}` |"
    for name, value in method.items():
        if name != "class":
            yield f"| {cell(name)} | `{cell(json.dumps(value, ensure_ascii=False))}` |"
    for name, value in (config.get("refinement") or {}).items():
        if name not in ("class", "scorer", "finetune") and value is not None:
            yield f"| refinement {cell(name)} | `{cell(json.dumps(value, ensure_ascii=False))}` |"
    if "budget" in config:
        budget = Budget(amount=config["budget"]["amount"], unit=config["budget"]["unit"])
        yield f"| budget asked | {amount_asked(budget)} |"
    yield f"| picked | {summary['rows']:,} rows ({summary['rows'] / summary['pool_rows']:.2%} of the pool) |"
    yield f"| seed | {config.get('seed', '?')} |"
    yield f"| subset | fingerprint `{exported.fingerprint}`, made {record['created'][:10]} |"
    yield f"| siftune | {version_of(record)} |"
    for what, name, fingerprint in facts.inputs:
        yield f"| {cell(what)} | {cell(name)}, fingerprint `{fingerprint}` |"
    yield ""


def _sources(summary: Mapping[str, Any]) -> list[str]:
    before, after = summary["sources_pool"], summary["sources_subset"]
    return [*mixture_table({source: (count, after.get(source, 0)) for source, count in before.items()}), ""]


def _licences(statistics: Statistics) -> Iterator[str]:
    yield from ("## Licences", "")
    known = [licence for _, licence, _ in statistics.licences if licence is not None]
    common = common_licence(licence for _, licence, _ in statistics.licences)
    if not known:
        yield "The pool names no licence for any of these rows: none is known, and none is claimed. Ask the sources."
        yield ""
    elif common is not None:
        yield f"Every row is given under one licence, `{common}`, as the pool names it:"
    else:
        yield "No one licence covers these rows, and none is claimed for the whole: each source's own holds, as far as"
        yield "the pool names it. Where none is known, ask the source before passing its rows on."
    if known:
        yield from ("", "| source | licence, as the pool names it | rows |", "|---|---|---:|")
        for source, licence, count in statistics.licences:
            yield f"| {cell(source)} | {cell(licence or NONE_KNOWN)} | {count:,} |"
        yield ""


def _lengths(statistics: Statistics) -> Iterator[str]:
    yield from (
        "## Lengths",
        "",
        "| a row's | total | mean | median | 95% below | most |",
        "|---|---:|---:|---:|---:|---:|",
    )
    for name, values in statistics.lengths.items():
        middle, high = np.percentile(values, (50, 95)) if len(values) else (0, 0)
        numbers = f"{values.mean():,.1f} | {middle:,.0f} | {high:,.0f} | {values.max():,.0f}"
        yield f"| {name} | {values.sum():,.0f} | {numbers} |"
    yield ""
    if statistics.tokens_of is not None:
        cut = (
            f"; what lies beyond its longest sequence is not counted (rows so long: {statistics.truncated:,})"
            if statistics.truncated
            else ""
        )
        yield f"Tokens are those of `{statistics.tokens_of}` in its chat template{cut}."
    else:
        yield f"Tokens are not counted: {statistics.no_tokens}."
    yield ""
