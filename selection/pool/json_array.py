"""The elements of a JSON array as a stream: an array of a million rows is never whole in memory."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from siftune.selection.pool.source import PoolError, Record

CHUNK_CHARACTERS = 1 << 20
LONGEST_TOKEN = 32
"""An error this near to the end of what was read may be the end's fault: a literal or an escape cut in two."""

_SPACE = re.compile(r"[ \t\r\n]*")


def array_records(stream: BinaryIO, file: str) -> Iterator[Record]:
    """One record an element, with the line that it begins on.

    PoolError at the first fault of syntax: there is no telling where the next element would begin.
    """
    reader = _Reader(stream, file)
    reader.expect("[")
    if reader.peek() == "]":
        reader.expect("]")
    else:
        while True:
            reader.peek()
            line = reader.line
            yield Record(reader.element(), file, line)
            if reader.peek() == "]":
                break
            reader.expect(",")
        reader.expect("]")
    if reader.peek():
        raise reader.error("text after the end of the array")


class _Reader:
    """A window on the text, moved forward as elements are read."""

    def __init__(self, stream: BinaryIO, file: str) -> None:
        self.file, self.line = file, 1
        self._text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        self._decoder = json.JSONDecoder()
        self._window, self._position, self._at_end = "", 0, False

    def peek(self) -> str:
        """The next character that is not white space, "" at the end."""
        while True:
            match = _SPACE.match(self._window, self._position)
            assert match is not None
            self._advance(match.end())
            if self._position < len(self._window) or not self._fill():
                return self._window[self._position : self._position + 1]

    def expect(self, character: str) -> None:
        if self.peek() != character:
            raise self.error(f"expected {character!r}, found {self.peek() or 'the end of the file'!r}")
        self._advance(self._position + 1)

    def element(self) -> object:
        """The JSON value at the position, reading on while it is incomplete."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._window, self._position)
            except json.JSONDecodeError as error:
                cut = error.pos >= len(self._window) - LONGEST_TOKEN or error.msg.startswith("Unterminated string")
                if not (cut and self._fill()):
                    raise self.error(error.msg, error.pos) from error
            except (ValueError, RecursionError) as error:
                raise self.error(str(error)) from error
            else:
                self._advance(end)
                return value

    def error(self, reason: str, position: int | None = None) -> PoolError:
        line = self.line + self._window.count("\n", self._position, position or self._position)
        return PoolError(
            f"{self.file}, line {line}: invalid JSON array: {reason}. The rest cannot be read: mend the file, "
            "or write it as JSON lines, where on_bad_row=quarantine puts single rows aside"
        )

    def _advance(self, position: int) -> None:
        self.line += self._window.count("\n", self._position, position)
        self._position = position

    def _fill(self) -> bool:
        """Read as much again as is unread (at least a chunk), so that a long element costs linear time."""
        if self._at_end:
            return False
        self._window = self._window[self._position :]
        self._position = 0
        try:
            more = self._text.read(max(CHUNK_CHARACTERS, len(self._window)))
        except UnicodeDecodeError as error:
            raise self.error(f"invalid UTF-8 after this line ({error.reason})") from error
        self._at_end = not more
        self._window += more
        return bool(more)
