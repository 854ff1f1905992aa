"""Seeds of drawn texts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable


def seeds_of(prompts: Iterable[Hashable], before: Counter[Hashable] | None = None) -> list[int]:
    """One a prompt: samples of one prompt differ, and are the same whatever is drawn besides.

    before: how often each prompt was asked for already; it is counted on.
    """
    times: Counter[Hashable] = Counter() if before is None else before
    seeds = []
    for prompt in prompts:
        digest = hashlib.sha256(f"{times[prompt]}:{prompt}".encode("utf-8", "surrogatepass")).digest()
        seeds.append(small_seed(int.from_bytes(digest[:8], "big")))
        times[prompt] += 1
    return seeds


def small_seed(seed: int) -> int:
    """Of 31 bits: some servers take 32 with a sign."""
    return seed % 2**31
