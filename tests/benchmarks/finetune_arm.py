"""One arm of the fine-tuning benchmark, in a process of its own: TRL as it comes, or siftune's finetune()."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

RANK, ALPHA, RATE, BATCH = 16, 32, 2e-4, 8


def main(arm: str, model: Path, rows_file: Path, folder: Path, steps: int) -> None:
    """Train `steps` steps and write losses, seconds and system seconds of each to folder/result.json."""
    if arm == "siftune":
        from siftune.finetune.process import prepare_process

        prepare_process()
    from transformers import TrainerCallback

    from siftune.finetune.model_sources import ModelRef
    from siftune.selection.pool.rows import Row

    class Clock(TrainerCallback):
        """Wall, processor and system seconds of each optimiser step."""

        def __init__(self) -> None:
            self.steps: list[tuple[float, float, float]] = []

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self.start = now()

        def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
            self.steps.append(tuple(after - before for after, before in zip(now(), self.start, strict=True)))

    ref = ModelRef(str(model), dtype="bfloat16")
    rows = [Row(source="benchmark", **json.loads(line)) for line in rows_file.read_text().splitlines()]
    train = run_siftune if arm == "siftune" else run_trl
    clock = Clock()
    losses = train(ref, rows, folder, steps, clock)
    seconds, cpu, system = zip(*clock.steps, strict=True)
    result = {"losses": losses, "seconds": seconds, "cpu": cpu, "system": system}
    (folder / "result.json").write_text(json.dumps(result))


def now() -> tuple[float, float, float]:
    """Seconds of the clock, of both processors, and of them in the kernel."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), usage.ru_utime + usage.ru_stime, usage.ru_stime


def run_siftune(ref: Any, rows: list[Any], folder: Path, steps: int, clock: Any) -> list[float]:
    """The product's own way."""
    from siftune.finetune.config import FinetuneConfig, LoraSettings
    from siftune.finetune.sft import finetune

    config = FinetuneConfig(
        max_steps=steps,
        learning_rate=RATE,
        global_batch_size=BATCH,
        warmup_ratio=0.0,
        lora=LoraSettings(rank=RANK, alpha=ALPHA),
    )
    return [entry["loss"] for entry in finetune(ref, rows, config, folder, 0, [clock]).log]


def run_trl(ref: Any, rows: list[Any], folder: Path, steps: int, clock: Any) -> list[float]:
    """SFTTrainer with its defaults, on the rows that siftune sees in the order that it sees them."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    from siftune.finetune.batches import GlobalBatchSampler
    from siftune.finetune.data import tokenize_rows
    from siftune.finetune.model import load_causal_lm, load_tokenizer

    tokenizer = load_tokenizer(ref)
    data = tokenize_rows(sorted(rows, key=lambda row: row.id), tokenizer, 2048)
    order = GlobalBatchSampler(data.lengths, BATCH, 1, 0).first_rows(steps)
    dataset = Dataset.from_list([data.dataset[int(row)] for row in order])
    args = SFTConfig(
        output_dir=str(folder),
        max_steps=steps,
        learning_rate=RATE,
        per_device_train_batch_size=BATCH,
        train_sampling_strategy="sequential",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        seed=0,
    )
    model = load_causal_lm(ref)
    set_seed(0)
    adapters = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = SFTTrainer(
        model=model,
        args=args,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=adapters,
        callbacks=[clock],
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
