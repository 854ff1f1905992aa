"""How the methods' kernels are tried on small pools."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from siftune.selection.kernels import round_robin, similarity, topk


@pytest.fixture(scope="module")
def small_steps() -> Iterator[None]:
    """Blocks, buffers and passes so small that little pools meet all of the machinery."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "BLOCK_ROWS", 7)
        patch.setattr(topk, "_LEAST_ROOM", 4)
        patch.setattr(round_robin, "_LEAST_DEPTH", 2)
        patch.setattr(round_robin, "_MOST_ENTRIES", 12)
        yield
