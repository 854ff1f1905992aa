from __future__ import annotations

from pathlib import Path

from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.store import Pool, build_pool

README_ROWS = {"nl2bash": 12_347, "gsm8k_train": 7_473, "wikisql_train": 8_000, "llamafactory_glaive_toolcall": 300}


def test_the_real_pool_is_read_normalised_and_deduplicated(shared: Path, tmp_path: Path) -> None:
    path = shared / "pools" / "instructions_real.jsonl.gz"
    summary = build_pool(FilePool(name="real", path=str(path), deduplicate=True), tmp_path)
    assert (summary.read, summary.quarantined) == (77_995, 0)
    assert summary.rows + summary.duplicates == 77_995
    assert 0 < summary.duplicates < 200
    assert sum(summary.sources.values()) == summary.rows
    for source, rows in README_ROWS.items():
        assert rows - summary.duplicates <= summary.sources[source] <= rows
    pool = Pool.open(tmp_path)
    assert len(set(pool.ids.tolist())) == len(pool) == summary.rows
    assert sum(len(row.messages) > 2 for row in pool.rows(range(len(pool)))) > 500
