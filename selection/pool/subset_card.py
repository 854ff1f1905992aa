"""The card of a subset: where it comes from, how it was picked, and what that did to the mixture of sources."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from siftune.selection.interface import Budget
from siftune.selection.pool.removal import cell


@dataclass(frozen=True, kw_only=True)
class SubsetCard:
    """What a subset's card says beside what the rows themselves show."""

    pool: str
    """The pool's name."""
    pool_hash: str
    """The pool's fingerprint."""
    method: str
    """Name of the selector's class, e.g. RDSPlus."""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """The selector's fields."""
    budget: Budget
    """As asked."""
    seed: int
    tokens: int | None = None
    """Tokens of the picked rows, where they were counted."""


def card_text(card: SubsetCard, front_matter: Sequence[str], mixture: Mapping[str, tuple[int, int]]) -> str:
    """README.md: YAML front matter, then Markdown. `mixture`: source -> (rows of the pool, rows picked)."""
    pool_rows = sum(before for before, _ in mixture.values())
    rows = sum(after for _, after in mixture.values())
    tokens = "" if card.tokens is None else f", {card.tokens:,} tokens"
    lines = [
        "---",
        *front_matter,
        "tags:",
        "- siftune",
        "---",
        "",
        f"# {rows:,} rows of `{card.pool}` picked by {card.method}",
        "",
        "| | |",
        "|---|---|",
        f"| pool | `{card.pool}`, {pool_rows:,} rows |",
        f"| pool hash | `{card.pool_hash}` |",
        f"| method | `{card.method}` |",
        *(f"| {cell(name)} | `{cell(json.dumps(value))}` |" for name, value in card.hyperparameters.items()),
        f"| seed | {card.seed} |",
        f"| budget asked | {amount_asked(card.budget)} |",
        f"| budget met | {rows:,} rows ({rows / pool_rows:.2%} of the pool){tokens} |",
        "",
        *mixture_table(mixture),
        "",
        *how_to_load("path/to/this/folder"),
        "",
        "Rows stand in the order picked (`rank`); `gain` is the method's score at the pick, null where it has none.",
        "",
    ]
    return "\n".join(lines)


def mixture_table(mixture: Mapping[str, tuple[int, int]]) -> list[str]:
    """The section of a card on sources: source -> (rows of the pool, rows picked)."""
    pool_rows = sum(before for before, _ in mixture.values())
    rows = max(1, sum(after for _, after in mixture.values()))
    return [
        "## Sources before and after",
        "",
        "| source | pool rows | share | picked rows | share |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {cell(source)} | {before:,} | {before / pool_rows:.1%} | {after:,} | {after / rows:.1%} |"
            for source, (before, after) in mixture.items()
        ),
    ]


def how_to_load(place: str) -> list[str]:
    """The section of a card on loading: `place` is a folder or a name on the hub."""
    return [
        "## How to load it",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'subset = load_dataset("{place}", split="train")',
        "```",
    ]


def amount_asked(budget: Budget) -> str:
    """A budget in words."""
    return f"{budget.amount:g} of the rows" if budget.unit == "fraction" else f"{int(budget.amount):,} {budget.unit}"
