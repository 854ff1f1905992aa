"""The words of a conversation, as comparing texts word for word takes them."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from siftune.selection.pool.rows import Message, Row

TextPart = Literal["conversation", "prompt", "response"]
"""All turns, those before the final response, or that response."""

# Thai to Khmer, kana, CJK and Hangul: scripts that do not part their words with spaces, or whose words are long.
# Each character counts as a word.
_SINGLE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORDS = re.compile(rf"[^\W{_SINGLE}]+|[{_SINGLE}]")
_MARKS_TOO = re.compile(rf"[^\W{_SINGLE}]+|[{_SINGLE}]|[^\w\s]")


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores in lower case; punctuation and white space do not count."""
    return _WORDS.findall(_folded(text))


def words_and_marks(text: str) -> list[str]:
    """The same, and every punctuation mark for itself: in code they carry the meaning."""
    return _MARKS_TOO.findall(_folded(text))


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower()


def turns(messages: list[Message], part: TextPart) -> list[str]:
    """The texts of the turns that make up a part of a conversation."""
    if part == "conversation":
        return [message["content"] for message in messages if message["content"]]
    row = Row(id="", source="", messages=messages)
    if part == "response":
        return [row.response()]
    return [message["content"] for message in row.prompt_messages() if message["content"]]
