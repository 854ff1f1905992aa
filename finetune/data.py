"""Rows to what the trainer reads: token ids and labels, where only what the assistant says has a label."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from datasets import Dataset, concatenate_datasets
from datasets.table import InMemoryTable
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase
from trl import pack_dataset

from siftune.finetune.chat import ChatTemplateError, tokenize
from siftune.selection.pool.rows import Row

IGNORED = -100
"""The label of a token that has no loss."""
BLOCK = 10_000
"""Rows turned into one Arrow batch at a time, so that Python lists of tokens never hold a whole subset."""

logger = logging.getLogger(__name__)


class TrainingDataError(ValueError):
    """The rows leave nothing to train on."""


@dataclass(frozen=True)
class TrainingData:
    """A tokenised subset; row i of each array is row i of the data set (a packed sequence counts as a row)."""

    dataset: Dataset
    """Columns input_ids, labels (IGNORED but for assistant tokens) and, when packed, seq_lengths."""
    lengths: np.ndarray
    """(n,) int64 tokens."""
    trained: np.ndarray
    """(n,) int64 tokens with a loss."""
    rows: int
    """Rows that are trained on."""
    truncated: int
    """Of them, how many were cut at the maximum length."""
    untrained: tuple[str, ...]
    """Ids of the rows left out because no assistant token remains within the maximum length."""


def tokenize_rows(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, max_length: int) -> TrainingData:
    """Token ids and labels of every row; rows without a trained token are left out, counted and reported."""
    tables, truncated, untrained = [], 0, []
    block: list[tuple[list[int], list[int]]] = []
    for row in tqdm(rows, desc="tokenising", unit=" rows", delay=2, leave=False):
        ids, labels, cut = _example(row, tokenizer, max_length)
        if all(label == IGNORED for label in labels):
            untrained.append(row.id)
            continue
        truncated += cut
        block.append((ids, labels))
        if len(block) == BLOCK:
            tables.append(_table(block))
            block = []
    if block:
        tables.append(_table(block))
    _report(len(rows), truncated, untrained, max_length)
    dataset = Dataset(InMemoryTable(pa.concat_tables(tables)))
    return _training_data(dataset, len(dataset), truncated, tuple(untrained))


def pack(data: TrainingData, max_length: int, seed: int) -> TrainingData:
    """Rows joined into sequences of at most max_length tokens, in an order drawn by seed; each keeps its own labels."""
    order = np.random.default_rng([seed, len(data.dataset)]).permutation(len(data.dataset))
    packed = pack_dataset(data.dataset.select(order), max_length, "bfd", {"keep_in_memory": True, "desc": "packing"})
    return _training_data(packed, data.rows, data.truncated, data.untrained)


def with_blank_row(dataset: Dataset) -> Dataset:
    """The data set and, after its last row, one token without a label: what incomplete batches are filled up with."""
    blank = {"input_ids": [dataset[0]["input_ids"][:1]], "labels": [[IGNORED]]}
    if "seq_lengths" in dataset.column_names:
        blank["seq_lengths"] = [[1]]
    return concatenate_datasets([dataset, Dataset.from_dict(blank, features=dataset.features)])


def _example(row: Row, tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[list[int], list[int], bool]:
    try:
        tokens = tokenize(tokenizer, row.messages, max_length)
    except ChatTemplateError as error:
        raise ChatTemplateError(f"row {row.id} (source {row.source}): {error}") from error
    labels = [token if said else IGNORED for token, said in zip(tokens.input_ids, tokens.assistant_mask, strict=True)]
    # Nothing comes before the first token that could predict it.
    labels[:1] = [IGNORED] * len(labels[:1])
    return tokens.input_ids, labels, tokens.truncated


def _table(block: Sequence[tuple[list[int], list[int]]]) -> pa.Table:
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids, _ in block])]).astype(np.int32)
    ids = _lists(offsets, (ids for ids, _ in block))
    return pa.table({"input_ids": ids, "labels": _lists(offsets, (labels for _, labels in block))})


def _lists(offsets: np.ndarray, values: Iterable[list[int]]) -> pa.ListArray:
    flat = np.fromiter((value for row in values for value in row), dtype=np.int32, count=int(offsets[-1]))
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))


def _training_data(dataset: Dataset, rows: int, truncated: int, untrained: tuple[str, ...]) -> TrainingData:
    lengths, trained = [], []
    for batch in dataset.with_format("arrow").iter(BLOCK):
        labels = batch["labels"].combine_chunks()
        sizes = np.diff(labels.offsets.to_numpy())
        kept = labels.flatten().to_numpy() != IGNORED
        lengths.append(sizes)
        trained.append(np.add.reduceat(kept.astype(np.int64), np.concatenate([[0], np.cumsum(sizes)[:-1]])))
    return TrainingData(
        dataset=dataset,
        lengths=np.concatenate(lengths).astype(np.int64),
        trained=np.concatenate(trained),
        rows=rows,
        truncated=truncated,
        untrained=untrained,
    )


def _report(rows: int, truncated: int, untrained: Sequence[str], max_length: int) -> None:
    named = ", ".join(untrained[:5]) + (", ..." if len(untrained) > 5 else "")
    remedy = f"raise finetune.max_length={max_length} (and model.max_length) to keep more of them"
    if rows == len(untrained):
        reason = f"none of them has an assistant token within the first {max_length} tokens ({named}): {remedy}"
        raise TrainingDataError(f"{rows} rows to train on, but {reason if rows else 'the subset is empty'}")
    if truncated:
        logger.warning("%d of %d rows were cut at %d tokens: %s", truncated, rows, max_length, remedy)
    if untrained:
        logger.warning(
            "%d of %d rows are left out: no assistant token within %d tokens (%s); %s",
            len(untrained), rows, max_length, named, remedy,
        )  # fmt: skip
