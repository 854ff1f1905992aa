"""Loading models and tokenizers, from a folder or the hub, in the number format and on the device of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, OfflineModeIsEnabled
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from siftune.finetune.model_sources import DType, ModelRef
from siftune.finetune.templates import template_text

PADS = ("<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<|pad|>", "<|endoftext|>")
"""Tokens that vocabularies keep for padding though their tokenizer does not say so, the surest first."""


class ModelLoadError(ValueError):
    """A model or tokenizer cannot be loaded; the message says what to do."""


def load_tokenizer(ref: ModelRef, *, chats: bool = True) -> PreTrainedTokenizerBase:
    """The tokenizer, with a padding token (the end-of-sequence token is left as it is), and with a chat template unless
    it is for plain text (`chats` is False)."""
    with explained(ref.path):
        tokenizer = AutoTokenizer.from_pretrained(ref.path, revision=ref.revision)
    if ref.chat_template is not None:
        tokenizer.chat_template = template_text(ref.chat_template)
    if chats and not tokenizer.chat_template:
        raise ModelLoadError(
            f"the tokenizer of {ref.path} has no chat template: choose one that siftune ships, "
            "e.g. model.chat_template=tulu (or chatml, llama3, mistral, vicuna), or the path of a .jinja file"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = _pad_token(tokenizer)
    return tokenizer


def load_causal_lm(
    ref: ModelRef, *, dtype: DType | None = None, device: torch.device | None = None, merged: bool = False
) -> PreTrainedModel:
    """The language model in evaluation mode, with its adapter if any, in `dtype` (default: ref.dtype) on `device`.

    With `merged` the adapter is added into the weights (in memory): a pass is as fast as without one, and the model is
    of its own class. In 16 bits the sum is rounded, as it is by finetune.merge=true.
    """
    model = _load_model(AutoModelForCausalLM, ref, resolve_dtype(dtype or ref.dtype))
    if ref.adapter is not None:
        # Imported here: it takes seconds, and only models with an adapter need it.
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, ref.adapter)
        model = model.merge_and_unload() if merged else model
    return model.to(device or resolve_device()).eval()


def load_backbone(ref: ModelRef) -> PreTrainedModel:
    """The model without its language-model head, in evaluation mode: what gives hidden states; with its adapter, if
    any, added into the weights."""
    if ref.adapter is not None:
        # Adapters are trained, and so named, with the head.
        model: Any = load_causal_lm(ref, merged=True)
        backbone: PreTrainedModel = model.base_model
        return backbone
    return _load_model(AutoModel, ref, resolve_dtype(ref.dtype)).to(resolve_device()).eval()


def load_classifier(ref: ModelRef) -> PreTrainedModel:
    """The sequence classifier (a reward model, for example) in evaluation mode; ModelLoadError where its weights lack
    the classifier's own."""
    with explained(ref.path):
        model, found = AutoModelForSequenceClassification.from_pretrained(
            ref.path, revision=ref.revision, dtype=resolve_dtype(ref.dtype), output_loading_info=True
        )
    if found["missing_keys"]:
        raise ModelLoadError(
            f"{ref.path} is no sequence classifier: its weights lack {', '.join(sorted(found['missing_keys'])[:3])}, "
            "which would be random"
        )
    return model.to(resolve_device()).eval()


def resolve_device() -> torch.device:
    """This process's GPU (by LOCAL_RANK under torchrun), or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def resolve_dtype(name: DType) -> torch.dtype:
    """The number format by name; `auto` is bfloat16 on GPUs and CPUs that have instructions for it, else float32."""
    if name == "auto":
        return torch.bfloat16 if _has_bfloat16() else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def _has_bfloat16() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # AVX-512 or AMX arithmetic: elsewhere torch emulates bfloat16, slower than float32.
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def _load_model(auto: Any, ref: ModelRef, dtype: torch.dtype) -> Any:
    with explained(ref.path):
        return auto.from_pretrained(ref.path, revision=ref.revision, dtype=dtype)


@contextmanager
def explained(path: str) -> Iterator[None]:
    """What stops the model at `path` from being loaded inside the block is retold with its remedy."""
    if _is_missing_folder(path):
        raise ModelLoadError(f"{path} cannot be loaded: there is no such folder")
    try:
        yield
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{path} cannot be loaded: {_remedy(path, error)}") from error


def _is_missing_folder(path: str) -> bool:
    looks_local = path.startswith((".", "/", "~")) or path.count("/") > 1
    return looks_local and not os.path.isdir(path)


def _remedy(path: str, error: BaseException) -> str:
    causes = tuple(_chain(error))
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return (
            f"its authors ask for their licence to be accepted. Accept it on the model's page on the hub ({path}), "
            "then log in with `hf auth login` or set HF_TOKEN; or give a local copy: model.path=/folder/of/the/model"
        )
    if find_spec("sentencepiece") is None and any("`tiktoken` is required" in str(cause) for cause in causes):
        # What transformers says after it failed to read a tokenizer.model with a library that is not there.
        return "its tokenizer is a SentencePiece file (tokenizer.model), which needs `pip install sentencepiece`"
    if os.path.isdir(path):
        return f"{error} (a model folder holds config.json, *.safetensors and tokenizer.json)"
    offline = "offline (HF_HUB_OFFLINE is set or the hub cannot be reached) and it is not in the local cache. "
    if any(isinstance(cause, (LocalEntryNotFoundError, OfflineModeIsEnabled)) for cause in causes):
        return (
            f"the machine is {offline}Download it where there is a connection (`hf download {path}`) and give the "
            "folder: model.path=/folder/of/the/model; model=smollm2_embedded needs no hub"
        )
    return str(error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _pad_token(tokenizer: PreTrainedTokenizerBase) -> str:
    vocabulary = tokenizer.get_vocab()
    spare = (token for token in PADS if token in vocabulary and token != tokenizer.eos_token)
    return next(spare, None) or tokenizer.unk_token or tokenizer.eos_token
