"""What is known of a model before it is built or loaded: its config and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from siftune.finetune.model import explained, load_tokenizer
from siftune.finetune.model_sources import Model, PackagedModel, RandomModel, TrainedModel
from siftune.finetune.templates import template_text
from siftune.finetune.tiny import byte_tokenizer, tiny_config


def outline(model: Model, folder: Path | None) -> tuple[Any, PreTrainedTokenizerBase]:
    """The model's config and its tokenizer; `folder` is where it is or will be built, None where it needs no build."""
    if isinstance(model, TrainedModel):
        # Training changes no size, and a plan looks before there is anything trained.
        return outline(model.base, model.base_folder)
    if not model.needs_build or (folder is not None and (folder / "config.json").is_file()):
        reference = model.reference(folder)
        with explained(reference.path):
            return AutoConfig.from_pretrained(reference.path, revision=reference.revision), load_tokenizer(reference)
    if isinstance(model, RandomModel):
        tokenizer = byte_tokenizer(model.vocab_size)
        sizes = {name: getattr(model, name) for name in ("hidden_size", "num_layers", "num_heads")}
        return tiny_config(tokenizer, **sizes), _with_template(tokenizer, model)
    assert isinstance(model, PackagedModel)
    file = model.gguf()
    config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
    return config, _with_template(AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name), model)


def _with_template(tokenizer: PreTrainedTokenizerBase, model: Model) -> PreTrainedTokenizerBase:
    if model.chat_template is not None:
        tokenizer.chat_template = template_text(model.chat_template)
    return tokenizer
