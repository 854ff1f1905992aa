"""Records in, rows out: bad rows are refused or put aside, and exact copies are found, each of them counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from siftune.selection.pool.formats import RowError
from siftune.selection.pool.normalise import normalise
from siftune.selection.pool.rows import Row
from siftune.selection.pool.source import PoolError, PoolSource, Record


class Intake:
    """Turns records into rows, and counts those that become none."""

    def __init__(self, source: PoolSource, quarantine: Path) -> None:
        self.source, self._quarantine = source, quarantine
        self.read = self.duplicates = self.quarantined = 0
        self._seen: set[bytes] = set()
        self._copies: dict[bytes, int] = {}

    def take(self, record: Record) -> Iterator[Row]:
        """The row of a record, if it becomes one."""
        self.read += 1
        try:
            if record.problem is not None:
                raise RowError(record.problem)
            row = normalise(record.value, self.source)
        except RowError as error:
            self._refuse(record, str(error))
            return
        key = bytes.fromhex(row.id)
        if key not in self._seen:
            self._seen.add(key)
            yield row
            return
        self.duplicates += 1
        if not self.source.deduplicate:
            self._copies[key] = self._copies.get(key, 1) + 1
            yield replace(row, id=f"{row.id}-{self._copies[key]}")

    def _refuse(self, record: Record, reason: str) -> None:
        if self.source.on_bad_row == "error":
            raise PoolError(
                f"{record.file}, line {record.line}: {reason}. Mend the row, or put such rows aside with "
                "pool.on_bad_row=quarantine"
            )
        self.quarantined += 1
        entry = {"file": record.file, "line": record.line, "reason": reason, "row": record.value}
        with self._quarantine.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, default=repr) + "\n")

    def check(self) -> None:
        """PoolError where no row came of the records."""
        if self.read == 0:
            raise PoolError(f"pool {self.source.name}: there is no record to read (pool.rows={self.source.rows})")
        if self.read == self.quarantined:
            raise PoolError(
                f"pool {self.source.name}: no good row: all {self.read:,} were quarantined. "
                f"The reasons are in {self._quarantine}"
            )
