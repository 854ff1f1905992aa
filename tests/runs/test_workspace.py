"""What is said of a finished stage, and what becomes of one that was damaged since."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from siftune.finetune.model_sources import RandomModel
from siftune.runs.artifacts import Artifact
from siftune.runs.console import StageConsole
from siftune.runs.workspace import Workspace, describe
from siftune.selection.features import mapping
from siftune.selection.features.encoders.causal_lm import CausalLMEncoder
from siftune.selection.pool.file_pool import FilePool


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        ({"rows": 1200, "duplicates": 14, "deduplicated": False}, "1,200 rows, 14 exact copies kept"),
        ({"rows": 6000, "duplicates": 51, "deduplicated": True}, "6,000 rows, 51 exact copies removed"),
        ({"rows": 5, "duplicates": 0, "deduplicated": True, "quarantined": 2}, "5 rows, 2 quarantined"),
        ({"rows": 8, "truncated": 3, "tokens": 12000}, "8 rows, 3 truncated, 12,000 tokens"),
        (
            {"rows": 9, "tokens": 70, "without_reply": 2, "cut": 3},
            "9 rows, 70 tokens, 2 without a reply, 3 replies cut",
        ),
        ({}, ""),
    ],
)
def test_a_stage_is_described_in_a_few_words(summary: dict[str, Any], words: str) -> None:
    assert describe(Artifact(Path("x"), {"summary": summary}, cached=False)) == words


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 400)


@pytest.mark.parametrize("damage", [_flip, _truncate, Path.unlink])
def test_damaged_artifact_is_noticed_and_mended(
    damage: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "SHARD_ROWS", 4)
    turns = [[{"role": "user", "content": f"q {i}"}, {"role": "assistant", "content": f"a {i}"}] for i in range(10)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"messages": item}) for item in turns))
    source = FilePool(name="made", path=str(tmp_path / "rows.jsonl"))
    encoder = CausalLMEncoder(name="tiny", model=RandomModel())

    def embedded() -> tuple[Artifact, str]:
        said = io.StringIO()
        workspace = Workspace(tmp_path / "store", StageConsole(Console(file=said, width=400)))
        return workspace.embeddings(workspace.pool(source), encoder), said.getvalue()

    first, _ = embedded()
    path = first.folder / "embeddings.npy"
    before = path.read_bytes()
    found, said = embedded()
    assert (found.cached, "damaged" in said) == (True, False)
    damage(path)
    mended, said = embedded()
    assert (mended.cached, "damaged" in said) == (False, True)
    assert path.read_bytes() == before
