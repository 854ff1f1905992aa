"""Work on ranges of rows, given to whoever is there to do it; the kernels know nothing of clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from siftune.selection.kernels.progress import report

Work = Callable[[Sequence[np.ndarray], int], Any]
"""Called with the same rows of several arrays and the number of the first of them; it and its result can be pickled."""

Spreader = Callable[[Work, Sequence[np.ndarray]], Iterable[tuple[range, Any]]]
"""Does the work on ranges that partition the arrays' rows; gives (rows, result) in any order."""

_spreader: ContextVar[Spreader | None] = ContextVar("spreader", default=None)


@contextmanager
def spreading(spreader: Spreader) -> Iterator[None]:
    """Have `is_spread` be true and `over_rows` use the spreader inside this block."""
    token = _spreader.set(spreader)
    try:
        yield
    finally:
        _spreader.reset(token)


def is_spread() -> bool:
    """Whether there are others to do the work."""
    return _spreader.get() is not None


def over_rows(what: str, work: Work, arrays: Sequence[np.ndarray]) -> Iterator[Any]:
    """The results of the work on ranges of the arrays' n rows, in no order; `what` is reported as it goes on."""
    spreader = _spreader.get()
    assert spreader is not None, "inside `spreading` only"
    done, size = 0, len(arrays[0])
    for rows, result in spreader(work, arrays):
        yield result
        done += len(rows)
        report(what, done, size)
