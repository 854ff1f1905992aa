"""How replies are decoded, as a config: read without loading a model's libraries."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How a reply is drawn from the model; what the model's authors ship as their own settings is not looked at."""

    max_new_tokens: int = 256
    """Tokens after which a reply is cut."""
    temperature: float = 0.0
    """Divides the logits before a token is drawn; 0 takes the likeliest token."""
    top_p: float = 1.0
    """Tokens are drawn from the likeliest ones that together have at least this probability (nucleus sampling)."""
    positions_per_batch: int | None = field(default=None, metadata={"identity": False})
    """Positions of a batch, prompt, padding and reply counted: changes speed and memory, never the result (beyond
    rounding). null: 8192 on a CPU, 32768 on a GPU."""

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "positions_per_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if self.temperature < 0:
            raise ValueError(f"temperature={self.temperature} must not be negative")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p} must be above 0 and at most 1")
