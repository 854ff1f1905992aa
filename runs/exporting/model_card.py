"""README.md of an exported model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from siftune.runs.exporting.dataset_card import Remaking, version_of
from siftune.runs.exporting.sources import Exported
from siftune.runs.reporting.records import RunRecord
from siftune.selection.pool.removal import cell


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What the card of a model says beside the records."""

    base: str
    """The base model's name in the config."""
    base_id: str | None
    """Its id on the hub; None for one that is not from there."""
    dataset: str | None
    """The data set's name on the hub; None where it is not uploaded."""
    with_dataset: bool
    """Whether the data set is exported beside the model."""
    repo: str
    """Where it is loaded from."""
    remaking: Remaking


def model_card(exported: Exported, run: RunRecord, facts: ModelFacts) -> str:
    """README.md of the adapter, or of the whole model."""
    what = "LoRA adapter" if exported.is_adapter else "model"
    summary = exported.record["summary"]
    title = f"{facts.base} fine-tuned on {summary['rows']:,} rows picked by {run.label}"
    lines = [
        "---",
        _model_metadata(exported, run, facts, title).to_yaml().strip(),
        "---",
        "",
        f"# {title}",
        "",
        f"A {what} trained with siftune on a subset of `{run.pool}`.",
        "",
        "## What it is made of",
        "",
        "| | |",
        "|---|---|",
        f"| base model | {_base(facts)} |",
        f"| data | {_data(exported, facts)} |",
        f"| seed | {run.seed} |",
        f"| run | fingerprint `{run.fingerprint}`, made {run.created[:10]} |",
        f"| siftune | {version_of(exported.training or {'versions': {}})} |",
        "",
        *_training(exported),
        *_evaluation(run),
        *_loading(exported, facts),
        *facts.remaking.section(),
        "## Licence",
        "",
        "None is stated here: the base model's own licence holds for what is derived from it, and the data's card",
        "names the licences of the rows as far as they are known.",
        "",
    ]
    return "\n".join(lines)


def _model_metadata(exported: Exported, run: RunRecord, facts: ModelFacts, title: str) -> Any:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=name,
            dataset_name=name,
            metric_type=score.metric,
            metric_name=f"{score.metric} ({'higher' if score.higher_is_better else 'lower'} is better)",
            metric_value=score.value,
        )
        for name, score in run.scores.items()
    ]
    return ModelCardData(
        base_model=facts.base_id,
        library_name="peft" if exported.is_adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["siftune", "data-selection"] + (["lora"] if exported.is_adapter else []),
        datasets=[facts.dataset] if facts.dataset else None,
        model_name=title if results else None,
        eval_results=results or None,
    )


def _base(facts: ModelFacts) -> str:
    if facts.base_id is not None:
        return f"[{facts.base_id}](https://huggingface.co/{facts.base_id})"
    return f"`{facts.base}` (not from the hub: siftune's `model={facts.base}`, or a folder of its maker's)"


def _data(exported: Exported, facts: ModelFacts) -> str:
    rows = f"{exported.record['summary']['rows']:,} rows, subset `{exported.fingerprint}`"
    if facts.dataset is not None:
        return f"[{facts.dataset}](https://huggingface.co/datasets/{facts.dataset}): {rows}"
    return f"{rows} (exported beside this folder, in `dataset/`)" if facts.with_dataset else rows


def _training(exported: Exported) -> Iterator[str]:
    assert exported.training is not None
    settings, summary = exported.training["config"]["finetune"], exported.training["summary"]
    yield from ("## Training", "", "| setting | |", "|---|---|")
    for name, value in settings.items():
        if name == "lora" and isinstance(value, Mapping):
            yield from (f"| lora {key} | {_shown(item)} |" for key, item in value.items() if key != "class")
        elif name not in ("class", "save_steps", "keep_checkpoints") and value is not None:
            yield f"| {name} | {_shown(value)} |"
    yield ""
    yield f"{summary['steps']:,} steps over {summary['tokens']:,} tokens, of which the loss covers the assistant's"
    yield f"{summary['trained_tokens']:,}; the last loss is {summary['final_loss']:.4f}."
    yield ""


def _shown(value: Any) -> str:
    return cell(value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else json.dumps(value))


def _evaluation(run: RunRecord) -> Iterator[str]:
    yield from ("## Evaluation", "")
    if not run.scores:
        yield from ("It was not evaluated.", "")
        return
    yield from ("| task | metric | value | standard error | documents |", "|---|---|---:|---:|---:|")
    for name, score in run.scores.items():
        arrow = "↑" if score.higher_is_better else "↓"
        stderr = "" if score.stderr is None else f"{score.stderr:.4f}"
        yield f"| {cell(name)} | {cell(score.metric)} {arrow} | {score.value:.4f} | {stderr} | {score.samples:,} |"
    if run.headline is not None:
        yield from ("", f"Mean of {', '.join(run.headline_tasks)}: {run.headline:.4f}.")
    yield from ("", f"Suite `{run.suite}`; ↑ higher is better, ↓ lower is better.", "")


def _loading(exported: Exported, facts: ModelFacts) -> list[str]:
    base = facts.base_id or "path/to/the/base/model"
    loaded = [
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f'model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "{facts.repo}")',
    ]
    if not exported.is_adapter:
        loaded = [
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            f'model = AutoModelForCausalLM.from_pretrained("{facts.repo}")',
        ]
    tokenizer = f'tokenizer = AutoTokenizer.from_pretrained("{facts.repo}")'
    return ["## How to load it", "", "```python", *loaded, tokenizer, "```", ""]
