"""What is said to a judge, and what of its reply is a rating."""

from __future__ import annotations

import re
from collections.abc import Sequence

from siftune.selection.features.endpoint.endpoint_replies import Reply
from siftune.selection.pool.rows import Message

QUOTED = 80
"""Characters of a judge's reply without a verdict that an error quotes."""


def messages_of(template: str, **texts: str) -> tuple[Message, ...]:
    """The template as messages, its slots filled at once: a text that says {answer} is left as it is."""
    found = re.findall(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", template, re.DOTALL)
    turns = [(role, text.strip()) for role, text in found] or [("user", template)]
    slots = re.compile("|".join(re.escape(f"{{{name}}}") for name in texts))
    return tuple({"role": role, "content": slots.sub(lambda slot: texts[slot[0][1:-1]], text)} for role, text in turns)


def conversation(turns: Sequence[Message]) -> str:
    """Turns with their speakers named."""
    return "\n\n".join(f"### {turn['role'].capitalize()}\n{turn['content']}" for turn in turns)


def rating(reply: Reply, pattern: str, lowest: float = 1.0, highest: float = 10.0) -> float | str:
    """The number that `pattern` finds in a reply, or why there is none: several different ones are no verdict."""
    quoted = repr(reply.text[-QUOTED:])
    found = {float(match) for match in re.findall(pattern, reply.text)}
    if not found:
        return f"no verdict in the reply, which {'was cut' if reply.cut else 'ends'} at {quoted}"
    if len(found) > 1:
        return f"several verdicts in the reply that ends {quoted}"
    (value,) = found
    return value if lowest <= value <= highest else f"the verdict {value:g} is not from {lowest:g} to {highest:g}"
