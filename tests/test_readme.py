"""The method that the README adds works as printed, from a folder of the user's own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path


def block(text: str, language: str, containing: str) -> str:
    """The README's code block in this language that contains these words."""
    blocks = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    (found,) = [item for item in blocks if containing in item]
    return found


def test_the_readmes_method_selects(repository: Path, tmp_path: Path) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    (tmp_path / "most_tags.py").write_text(block(readme, "python", "class MostTags"), encoding="utf-8")
    config = block(readme, "yaml", "MostTags").replace("siftune.selection.methods.most_tags", "most_tags")
    (tmp_path / "conf" / "selection").mkdir(parents=True)
    (tmp_path / "conf" / "selection" / "most_tags.yaml").write_text(config, encoding="utf-8")
    command = [sys.executable, "-m", "siftune.runs.main", "select", "--config-dir", str(tmp_path / "conf")]
    overrides = ["selection=most_tags", "model=tiny", "pool.size=100", "budget.amount=7"]
    places = [f"store={tmp_path}/store", f"output={tmp_path}/subset"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*command, *overrides, *places], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    rows = [
        json.loads(line) for line in (tmp_path / "subset" / "subset.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert len(rows) == 7
    assert [row["gain"] for row in rows] == [min(len(row["tags"]), 10) for row in rows]
