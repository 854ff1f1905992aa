"""Filling a budget exactly: what may still be taken, and greedy filling from a ranking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siftune.selection.interface import Budget, BudgetError, Features
from siftune.selection.kernels.validation import require_lengths


@dataclass(frozen=True)
class Purse:
    """A budget as compiled loops take it: a row may be taken while its cost is left, which only falls."""

    costs: np.ndarray
    """(n,) int64: 1 under the units examples and fraction, the row's tokens under a token budget."""
    left: int


def purse(features: Features, budget: Budget, taken: np.ndarray | None = None) -> Purse:
    """BudgetError where the pool is too small or no row fits; ValueError where token counts are missing.

    `taken` (n,) bool: rows that may not be picked any more, so that the others must meet the budget.
    """
    if budget.unit == "tokens":
        return Purse(token_costs(features, budget, taken), int(budget.amount))
    return Purse(np.ones(features.size, dtype=np.int64), wanted_rows(features, budget, taken))


def wanted_rows(features: Features, budget: Budget, taken: np.ndarray | None = None) -> int:
    """Rows to pick under the units examples and fraction (of all rows); BudgetError where too few are not `taken`."""
    wanted = budget.count(features.size)
    left = features.size if taken is None else features.size - int(np.count_nonzero(taken))
    if wanted > left:
        missing = f"{wanted - left:,} missing"
        raise BudgetError(f"the budget asks for {wanted:,} examples and {left:,} are left: {missing}")
    return wanted


class Allowance:
    """What is left of a budget while a method picks row by row.

    Every row has a cost: 1 under the units examples and fraction, its tokens under a token budget. A row may be taken
    while its cost is left; the budget is met when no row that is not taken may be.
    """

    def __init__(self, features: Features, budget: Budget) -> None:
        """BudgetError where the pool is too small or no row fits; ValueError where token counts are missing."""
        self.size = features.size
        self.met = False
        """Whether no further row can be taken."""
        self._flags = bytearray(self.size)
        self.taken = np.frombuffer(self._flags, dtype=np.bool_)
        """(n,) bool, kept up to date."""
        self._costs: np.ndarray | None = None
        if budget.unit == "tokens":
            self._costs = token_costs(features, budget)
            self._cheapest_first = np.argsort(self._costs, kind="stable")
            self._cheapest = 0
            self._left = int(budget.amount)
        else:
            self._left = budget.count(features.size)

    @property
    def expected_rows(self) -> int:
        """About how many rows can still be taken (exact for examples and fraction), at least 1."""
        if self._costs is None:
            return max(1, self._left)
        return int(np.clip(np.ceil(self._left / max(1.0, self._costs.mean())), 1, self.size))

    def take(self, row: int) -> bool:
        """Take a row if it is not taken and fits; whether it was."""
        if self._flags[row]:
            return False
        cost = 1 if self._costs is None else int(self._costs[row])
        if cost > self._left:
            return False
        self._flags[row] = 1
        self._left -= cost
        self.met = self._left == 0 if self._costs is None else self._nothing_fits(self._costs)
        return True

    def unavailable(self) -> np.ndarray:
        """(n,) bool: rows that are taken or do not fit; neither ever changes back."""
        return self.taken.copy() if self._costs is None else self.taken | (self._costs > self._left)

    def _nothing_fits(self, costs: np.ndarray) -> bool:
        while self._cheapest < self.size and self._flags[self._cheapest_first[self._cheapest]]:
            self._cheapest += 1
        return self._cheapest == self.size or bool(costs[self._cheapest_first[self._cheapest]] > self._left)


def fill(order: np.ndarray, features: Features, budget: Budget) -> np.ndarray:
    """Picks that meet the budget from `order`, all n pool rows in the order a method prefers them.

    Examples and fraction: the first rows. Tokens: greedy filling, i.e. walk the order, take every row that still fits
    and skip those that do not, until none fits; the budget is never exceeded. Returns (k,) int64 rows as taken.
    """
    if budget.unit != "tokens":
        return order[: budget.count(features.size)].astype(np.int64)
    costs, left, picks = token_costs(features, budget), int(budget.amount), [np.empty(0, dtype=np.int64)]
    rest = order[costs[order] <= left]
    while rest.size:
        # All rows up to the first that does not fit are taken at once.
        spent = np.cumsum(costs[rest])
        taken = int(np.searchsorted(spent, left, side="right"))
        picks.append(rest[:taken])
        left -= int(spent[taken - 1])
        rest = rest[taken:]
        rest = rest[costs[rest] <= left]
    return np.concatenate(picks).astype(np.int64)


def token_costs(features: Features, budget: Budget, taken: np.ndarray | None = None) -> np.ndarray:
    """(n,) int64 tokens of the rows, those that are not `taken` checked against a token budget."""
    if features.num_tokens is None:
        raise ValueError(
            "budget.unit=tokens needs features.num_tokens, which was not given: count the pool's tokens first"
        )
    costs = require_lengths(features.num_tokens, features.size, "num_tokens")
    left, amount = costs if taken is None else costs[~taken], int(budget.amount)
    total = int(left.sum())
    if total < amount:
        whose = "the pool has" if taken is None else "the rows left have"
        raise BudgetError(f"the budget asks for {amount:,} tokens and {whose} {total:,}: {amount - total:,} missing")
    if left.min() > amount:
        raise BudgetError(f"no row fits a budget of {amount:,} tokens: the shortest row has {int(left.min()):,}")
    return costs
