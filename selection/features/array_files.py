"""Array files: .npy, safetensors and Parquet read as numpy arrays; every message names the file and the remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import csr_array

IDS = "id"


class ArrayError(ValueError):
    """A file that does not hold what a signal needs; the message names the config key, the file and the remedy."""


def read_array(path: Path, name: str | None, say: str) -> np.ndarray:
    """The array of a file: .npy memory-mapped; a safetensors file must be told which tensor, if it holds several."""
    if path.suffix == ".npy":
        try:
            mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise ArrayError(f"{say} is not a .npy array of numbers: {error}") from error
        return mapped
    if path.suffix == ".parquet":
        return numbers(read_parquet(path, name, say).column(0), say)
    return _read_safetensors(path, name, say)


def _read_safetensors(path: Path, name: str | None, say: str) -> np.ndarray:
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys())
            if (name is None and len(names) != 1) or (name is not None and name not in names):
                raise ArrayError(f"{say}: name one of its tensors, {path.name}:NAME; it has {', '.join(names)}")
            tensor = file.get_tensor(name or names[0])
    except SafetensorError as error:
        raise ArrayError(f"{say} is not a safetensors file: {error}") from error
    # numpy has no bfloat16.
    array: np.ndarray = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def read_parquet(path: Path, name: str | None, say: str, keep: str = IDS) -> pa.Table:
    """The asked column first and, where there is one, the column `keep` after it."""
    try:
        columns = pq.read_schema(path).names
    except pa.ArrowInvalid as error:
        raise ArrayError(f"{say} is not a Parquet file: {error}") from error
    others = [column for column in columns if column != keep]
    if name is None and len(others) == 1:
        name = others[0]
    if name is None or name not in columns:
        raise ArrayError(f"{say}: name one of its columns, {path.name}:NAME; it has {', '.join(others)}")
    table = pq.read_table(path, columns=[name, *([keep] if keep in columns else [])])
    return table.select([name, *([keep] if keep in columns else [])])


def ordered(table: pa.Table, column: str, wanted: np.ndarray, say: str) -> pa.Table:
    """The table's rows in the order of `wanted`, values of `column`."""
    if column not in table.column_names:
        raise ArrayError(f"{say} has no column {column!r}")
    place = {value: row for row, value in enumerate(table[column].cast(pa.string()).to_pylist())}
    if len(place) < table.num_rows:
        raise ArrayError(f"{say}: the column {column!r} has repeated values")
    missing = [value for value in wanted if value not in place]
    if missing:
        shown = ", ".join(missing[:3])
        raise ArrayError(f"{say} has no row for {len(missing):,} of {len(wanted):,}, e.g. {column} {shown}")
    return table.take([place[value] for value in wanted])


def numbers(column: pa.ChunkedArray, say: str) -> np.ndarray:
    """(n,) or (n, d) from a column of numbers or of lists of numbers, all of one length; missing numbers become NaN."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise ArrayError(f"{say} holds {kind}, expected numbers or lists of numbers")
    lists = column.combine_chunks()
    lengths = np.unique(pc.list_value_length(lists).fill_null(-1).to_numpy())
    if len(lengths) != 1 or lengths[0] < 1:
        raise ArrayError(f"{say} has lists of different or no length, from {lengths.min()} to {lengths.max()}")
    return np.asarray(lists.flatten().to_numpy(zero_copy_only=False)).reshape(len(lists), int(lengths[0]))


def tag_matrix(lists: pa.ListArray) -> tuple[csr_array, list[str]]:
    """(n, L) 0/1 float64 and the L tags in alphabetical order, of n lists of tags without repetitions."""
    rows = np.repeat(np.arange(len(lists)), pc.list_value_length(lists).fill_null(0).to_numpy())
    names, columns = np.unique(np.asarray(lists.flatten().to_pylist(), dtype=object), return_inverse=True)
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(lists), len(names))), names.tolist()
