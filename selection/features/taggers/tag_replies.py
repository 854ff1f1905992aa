"""What a tagging model replied, read strictly: a JSON list of tags, or the reason why it is none."""

from __future__ import annotations

import json
import re
from typing import Any

from siftune.finetune.generate import Reply
from siftune.selection.features.taggers.tagger import Tagged

_FENCE = re.compile(r"```(?:json|JSON)?[ \t]*\n(?P<inside>.*?)\n?[ \t]*```", re.DOTALL)
_QUOTED = 80


def parse_tags(reply: Reply) -> Tagged:
    """The tags of a reply, lower-cased, each once; without any where the reply is not what was asked for.

    Asked for is one JSON value, alone or in one code fence: a list of objects with a "tag", of strings, or a single
    object. A reply that is cut, or has words around the JSON, is refused whole: part of an answer is another answer.
    """
    text = reply.text.strip()
    fenced = _FENCE.fullmatch(text)
    try:
        value = json.loads(fenced["inside"] if fenced else text)
    except (ValueError, RecursionError) as error:
        return _none(_problem(reply, error), text)
    entries = value if isinstance(value, list) else [value]
    if not entries:
        return _none("empty list", text)
    tags = [_tag_of(entry) for entry in entries]
    named = tuple(dict.fromkeys(tag for tag in tags if tag))
    return Tagged(named) if all(tags) else _none("JSON with an entry that names no tag", text)


def _tag_of(entry: Any) -> str | None:
    tag = entry.get("tag") if isinstance(entry, dict) else entry
    return " ".join(tag.lower().split()) if isinstance(tag, str) else None


def _problem(reply: Reply, error: Exception) -> str:
    if not reply.text.strip():
        return "empty reply"
    if not reply.ended:
        return "cut at max_new_tokens"
    # A sentence may begin with a number, which is JSON by itself.
    extra = isinstance(error, json.JSONDecodeError) and error.msg == "Extra data"
    if extra and reply.text.lstrip().startswith(("[", "{", '"')):
        return "words after the JSON"
    return "not JSON"


def _none(problem: str, text: str) -> Tagged:
    quoted = text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"
    return Tagged((), f"{problem}: {quoted!r}" if text else problem)


def problem_of(why: str) -> str:
    """The kind of failure that a reason tells of, without the reply it quotes."""
    return why.partition(":")[0]
