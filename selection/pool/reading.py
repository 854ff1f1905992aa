"""Raw records from files: JSON lines, JSON arrays, Parquet and Arrow, plain or compressed, each read as a stream."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from siftune.selection.pool.json_array import array_records
from siftune.selection.pool.source import PoolError, Record

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
TEXT_SUFFIXES = (".jsonl", ".json", ".ndjson")
TABLE_SUFFIXES = (".parquet", ".arrow")
BUFFER_BYTES = 1 << 20
BATCH_ROWS = 1024


def is_data_file(path: Path) -> bool:
    """Whether the name is one that `read_file` knows."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        return len(suffixes) == 2 and suffixes[0] in TEXT_SUFFIXES
    return bool(suffixes) and suffixes[-1] in TEXT_SUFFIXES + TABLE_SUFFIXES


def read_file(path: Path) -> Iterator[Record]:
    """The records of one file, by its suffix; PoolError naming the file where it cannot be read."""
    if not is_data_file(path):
        known = ", ".join(TEXT_SUFFIXES + TABLE_SUFFIXES)
        raise PoolError(f"{path}: unknown kind of file: the suffixes known are {known}, text also with .gz or .zst")
    try:
        if path.suffix.lower() == ".parquet":
            with pq.ParquetFile(path) as table:
                yield from _batch_records(table.iter_batches(batch_size=BATCH_ROWS), path)
        elif path.suffix.lower() == ".arrow":
            yield from _arrow_records(path)
        else:
            yield from _text_records(path)
    except PoolError:
        raise
    except (OSError, pa.ArrowInvalid) as error:
        raise PoolError(f"{path}: cannot be read to its end: {error}. Is the file whole?") from error


def _text_records(path: Path) -> Iterator[Record]:
    """JSON lines, or an array where the text begins with one: both go by the name of .json."""
    with open_bytes(path) as stream:
        start = stream.peek(1024).removeprefix(b"\xef\xbb\xbf").lstrip()  # type: ignore[attr-defined]
        if start.startswith(b"["):
            yield from array_records(stream, str(path))
        else:
            yield from line_records(stream, str(path))


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """The decompressed bytes of a file. pyarrow refuses a truncated .zst; the zstandard package just ends there."""
    with pa.input_stream(path, compression=COMPRESSIONS.get(path.suffix.lower())) as stream:
        yield cast(BinaryIO, io.BufferedReader(stream, BUFFER_BYTES))


def line_records(lines: Iterable[bytes], file: str) -> Iterator[Record]:
    """One record a line, split at line feeds alone: U+2028 and the like are text. Blank lines hold no row."""
    for number, line in enumerate(lines, start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield _parse_line(line, file, number)


def _parse_line(line: bytes, file: str, number: int) -> Record:
    try:
        return Record(json.loads(line.decode("utf-8")), file, number)
    except UnicodeDecodeError as error:
        problem = f"invalid UTF-8 at byte {error.start} of the line"
    except (ValueError, RecursionError) as error:
        problem = f"invalid JSON ({error})"
    return Record(line.decode("utf-8", "backslashreplace").rstrip("\r\n"), file, number, problem)


def _batch_records(batches: Iterable[pa.RecordBatch], path: Path) -> Iterator[Record]:
    row = 0
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            for value in batch.slice(start, BATCH_ROWS).to_pylist():
                row += 1
                yield Record(value, str(path), row)


def _arrow_records(path: Path) -> Iterator[Record]:
    """Arrow's file format, or its stream format, which `datasets` writes under the same suffix."""
    with pa.memory_map(str(path)) as source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        if is_file:
            reader = pa.ipc.open_file(source)
            yield from _batch_records((reader.get_batch(index) for index in range(reader.num_record_batches)), path)
        else:
            yield from _batch_records(pa.ipc.open_stream(source), path)
