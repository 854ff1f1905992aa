"""Features whose process is killed at random moments, again and again: the bytes in the end, and what was redone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.store import build_pool

ROWS, SHARD_ROWS, KILLS = 1600, 16, 20

SCRIPT = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from siftune.finetune.model_sources import RandomModel
from siftune.selection.features.encoders import embedding
from siftune.selection.features import mapping
from siftune.selection.features.scorers import scoring
from siftune.selection.features.encoders.causal_lm import CausalLMEncoder
from siftune.selection.features.scorers.losses import LossScorer
from siftune.selection.pool.store import Pool

kind, root, disturbed, undisturbed = sys.argv[1], *map(Path, sys.argv[2:5])
mapping.SHARD_ROWS = int(sys.argv[5])
torch.set_num_threads(1)
model = RandomModel()
model.build(root / "model")
reference = model.reference(root / "model")
if kind == "embeddings":
    config, compute, job = CausalLMEncoder(name="tiny", model=model), embedding.embed, embedding.OpenEncodeJob
else:
    config, compute, job = LossScorer(name="tiny", model=model), scoring.score, scoring.OpenScoreJob
# Opened once: the children begin with a copy of it, and the test does not spend its time on imports.
opened = config.open(reference)
type(config).open = lambda self, reference: opened

computed = os.open(root / "computed", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
plain = job.compute
def noting(self, rows, prepared, progress):
    os.write(computed, b"x")
    return plain(self, rows, prepared, progress)
job.compute = noting

def run(folder):
    folder.mkdir(exist_ok=True)
    compute(Pool.open(root / "pool"), config, reference, folder)

def start():
    child = os.fork()
    if child == 0:
        run(disturbed)
        os._exit(0)
    return child

def shards():
    return len(list((disturbed / "shards").glob("*.json")))

chance = random.Random(int(sys.argv[6]))
for kill in range(int(sys.argv[7])):
    before, child = shards(), start()
    while shards() < before + 1:
        time.sleep(0.0005)
    time.sleep(chance.uniform(0, 0.015))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "it finished before it was killed"
assert os.waitpid(start(), 0)[1] == 0
print(os.fstat(computed).st_size, shards())
run(undisturbed)
"""


@pytest.mark.parametrize("kind", ["embeddings", "scores"])
def test_killed_twenty_times_it_ends_with_the_same_bytes(kind: str, tmp_path: Path) -> None:
    lines = []
    for i in range(ROWS):
        answer = "the answer is to sort the list by name " * (1 + i * 7919 % 13)
        turns = [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"messages": turns}))
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    build_pool(FilePool(name="made", path=str(tmp_path / "rows.jsonl")), tmp_path / "pool")
    folders = tmp_path / "disturbed", tmp_path / "undisturbed"
    command = [sys.executable, "-c", SCRIPT, kind, str(tmp_path), *map(str, folders)]
    command += [str(SHARD_ROWS), str(os.getpid()), str(KILLS)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    computed, shards = map(int, done.stdout.split())
    assert shards == -(-ROWS // SHARD_ROWS)
    # Every kill costs the shard that was being computed, and no other.
    assert computed <= shards + KILLS
    first, second = (
        {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".npy", ".jsonl")}
        for folder in folders
    )
    assert first == second
    assert first
