"""How much a model has read and written."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from siftune.evaluate.backends.running import Running
    from siftune.evaluate.results import TaskResult


@dataclass
class TokenCounts:
    """Tokens that went through the model, padding not counted."""

    read: int = 0
    """Of prompts and of texts that were scored; requests with the same inputs once, a prefix that many share once."""
    predicted: int = 0
    """Of them, those after which a probability was asked."""
    written: int = 0
    """Of generated texts, the end included; what a row writes while others of its batch go on after its own end is
    not."""

    def since(self, before: TokenCounts) -> dict[str, int]:
        """What has been added to counts that were once these."""
        now, then = asdict(self), asdict(before)
        return {name: count - then[name] for name, count in now.items()}


class Meter:
    """What a task takes of a model that others were evaluated on before."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._counts, self._spent = dataclasses.replace(running.counts), dict(running.spent())

    def told(self, result: TaskResult) -> TaskResult:
        """The result with its tokens, where it does not tell them itself, and what an endpoint has counted since."""
        spent = {
            f"endpoint_{name}": float(value - self._spent.get(name, 0)) for name, value in self._running.spent().items()
        }
        tokens = result.tokens or self._running.counts.since(self._counts)
        return dataclasses.replace(result, tokens=tokens, details={**result.details, **spent})
