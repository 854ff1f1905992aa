from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from siftune.selection.pool import json_array
from siftune.selection.pool.reading import read_file
from siftune.selection.pool.source import PoolError, Record

ROWS = [
    {"n": 0, "text": "a\u2028b\x85c\u2029"},
    {"n": 1, "text": 'new\nline, \\ and "quote"'},
    {"n": 2, "text": "ü" * 50},
]


def _lines() -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def _compress(data: bytes, path: Path, codec: str) -> None:
    with pa.CompressedOutputStream(str(path), codec) as stream:
        stream.write(data)


def _values(path: Path) -> list[object]:
    records = list(read_file(path))
    assert [record.problem for record in records] == [None] * len(records)
    return [record.value for record in records]


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".jsonl.gz", ".jsonl.zst"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_json_lines_are_split_at_line_feeds_alone(tmp_path: Path, suffix: str, mark: bytes) -> None:
    path, data = tmp_path / f"rows{suffix}", mark + _lines()
    if path.suffix in (".gz", ".zst"):
        _compress(data, path, {".gz": "gzip", ".zst": "zstd"}[path.suffix])
    else:
        path.write_bytes(data)
    assert list(read_file(path)) == [Record(row, str(path), line) for line, row in enumerate(ROWS, start=1)]


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_files_compressed_in_parts_are_read_to_the_end(tmp_path: Path, codec: str) -> None:
    path = tmp_path / ("rows.jsonl.gz" if codec == "gzip" else "rows.jsonl.zst")
    _compress(_lines(), path, codec)
    path.write_bytes(path.read_bytes() * 2)
    assert _values(path) == ROWS * 2


def test_blank_lines_and_windows_line_ends_hold_no_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"n": 0}\r\n\r\n  \n{"n": 1}')
    assert [(record.value, record.line) for record in read_file(path)] == [({"n": 0}, 1), ({"n": 1}, 4)]


@pytest.mark.parametrize(
    ("line", "problem", "raw"),
    [
        (b'{"n": 1', "invalid JSON (Expecting", '{"n": 1'),
        (b'{"n": "\xff"}', "invalid UTF-8 at byte 7 of the line", '{"n": "\\xff"}'),
        (b"[" * 100_000, "invalid JSON", "[" * 100_000),
    ],
)
def test_a_broken_line_is_a_record_with_its_problem(tmp_path: Path, line: bytes, problem: str, raw: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"n": 0}\n' + line + b'\n{"n": 2}\n')
    good, bad, next_good = read_file(path)
    assert (good.value, next_good.value, next_good.line) == ({"n": 0}, {"n": 2}, 3)
    assert (bad.line, bad.value) == (2, raw)
    assert bad.problem is not None
    assert problem in bad.problem


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_is_read_by_elements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None
) -> None:
    monkeypatch.setattr(json_array, "CHUNK_CHARACTERS", chunk)
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS, ensure_ascii=False, indent=indent) + "\n", "utf-8")
    assert _values(path) == ROWS
    assert [record.line for record in read_file(path)] == ([1, 1, 1] if indent is None else [2, 6, 10])


def test_an_empty_array_holds_no_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(" [ ] ")
    assert _values(path) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[{"n": 0},\n{"n": 1},', "line 2: invalid JSON array: Expecting value"),
        ('[{"n": 0},\n{"n": 1}', "line 2: invalid JSON array: expected ',', found 'the end of the file'"),
        ('[{"n": 0},\n{"n" 1}' + " " * 99, "line 2: invalid JSON array: Expecting ':' delimiter"),
        ('[{"n": 0} {"n": 1}]', "line 1: invalid JSON array: expected ',', found '{'"),
        ('[{"n": "0}]', "line 1: invalid JSON array: Unterminated string"),
        ("[] []", "text after the end of the array"),
    ],
)
def test_a_broken_array_names_line_and_reason(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(PoolError, match=r"rows.json, ") as error:
        list(read_file(path))
    assert reason in str(error.value)


def test_an_array_with_invalid_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b'[{"n": "\xff"}]')
    with pytest.raises(PoolError, match=r"rows.json, line 1: .*invalid UTF-8"):
        list(read_file(path))


def test_parquet_and_both_kinds_of_arrow_file(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS * 1000)
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=700)
    with pa.ipc.new_stream(str(tmp_path / "stream.arrow"), table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_file(str(tmp_path / "file.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=900)
    for name in ("rows.parquet", "stream.arrow", "file.arrow"):
        assert _values(tmp_path / name) == ROWS * 1000
        assert [record.line for record in read_file(tmp_path / name)] == list(range(1, 3001))


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst", ".parquet", ".arrow"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif suffix == ".arrow":
        with pa.ipc.new_file(str(path), pa.Table.from_pylist(ROWS).schema) as writer:
            writer.write_table(pa.Table.from_pylist(ROWS))
    else:
        _compress(_lines() * 1000, path, {".gz": "gzip", ".zst": "zstd"}[path.suffix])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(PoolError, match=r"rows\S+: cannot be read to its end"):
        list(read_file(path))


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"rows.csv: unknown kind of file: the suffixes known are .jsonl"):
        list(read_file(tmp_path / "rows.csv"))
