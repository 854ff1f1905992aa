"""What a measure says where a set has no such value."""

from __future__ import annotations

import numpy as np


class UndefinedError(ValueError):
    """A set has no value of a measure; the message says why. Tables show a dash, and other measures go on."""


def require_several(embeddings: np.ndarray) -> int:
    """The number of rows, at least two."""
    if len(embeddings) < 2:
        raise UndefinedError("one row has no distance to another")
    return len(embeddings)
