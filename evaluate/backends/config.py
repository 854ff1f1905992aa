"""Who runs the evaluated model, as configs that load no model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from siftune.evaluate.tasks import EvaluationError
from siftune.selection.features.endpoint.endpoint import Endpoint

if TYPE_CHECKING:
    from siftune.evaluate.backends.running import Running
    from siftune.finetune.model_sources import ModelRef


_SPEED = frozenset(
    {"enforce_eager", "max_num_seqs", "max_num_batched_tokens", "enable_prefix_caching", "enable_chunked_prefill"}
    | {"block_size", "cpu_offload_gb", "distributed_executor_backend", "disable_log_stats", "load_format"}
)
"""Options of vLLM that change how long a result takes, and not the result."""
_SET_ALREADY = frozenset(
    {"pretrained", "revision", "dtype", "tokenizer", "tensor_parallel_size", "data_parallel_size", "max_length"}
    | {"gpu_memory_utilization", "max_model_len", "lora_local_path", "max_lora_rank", "batch_size", "seed"}
)


@dataclass(frozen=True, kw_only=True)
class HuggingFace:
    """This process, with transformers."""

    scores_tokens: ClassVar[bool] = True
    """Whether it tells how likely given tokens are."""

    def inputs(self) -> dict[str, str]:
        """What an evaluation's fingerprint has of it: nothing."""
        return {}

    def check(self) -> None:
        """Nothing is needed."""

    def start(self, ref: ModelRef, tokenizer: Any, batch_size: int | None, replies: Path) -> Running:
        """Load the model."""
        from siftune.evaluate.backends.huggingface import LoadedModel

        return LoadedModel(ref, tokenizer, batch_size)


@dataclass(frozen=True, kw_only=True)
class VLLM:
    """This machine's GPUs, with vLLM; a LoRA adapter is served beside the base model, not merged."""

    scores_tokens: ClassVar[bool] = True

    tensor_parallel_size: int = field(default=1, metadata={"identity": False})
    """GPUs that share the model."""
    gpu_memory_utilization: float = field(default=0.85, metadata={"identity": False})
    """Share of the GPU's memory that vLLM takes at its start."""
    max_model_len: int | None = None
    """Tokens of a prompt and its answer together; null: the model's own limit, if the memory has room for it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of lm-eval's vLLM model and of vllm.LLM, e.g. {quantization: fp8}."""

    def __post_init__(self) -> None:
        if self.tensor_parallel_size < 1:
            raise ValueError(f"backend.tensor_parallel_size={self.tensor_parallel_size} must be at least 1")
        if taken := sorted(_SET_ALREADY & self.options.keys()):
            raise ValueError(f"backend.options.{taken[0]}: siftune sets it, by backend.* or by the model's config")
        if not 0 < self.gpu_memory_utilization <= 1:
            raise ValueError(
                f"backend.gpu_memory_utilization={self.gpu_memory_utilization} must be above 0 and at most 1"
            )

    def inputs(self) -> dict[str, str]:
        """That it is vLLM, whose arithmetic is not that of transformers, and what else changes results."""
        options = {name: value for name, value in self.options.items() if name not in _SPEED}
        told = {"kind": "vllm", "max_model_len": self.max_model_len, "options": options}
        return {"backend": json.dumps(told, sort_keys=True)}

    def check(self) -> None:
        """EvaluationError without the package."""
        if find_spec("vllm") is None:
            raise EvaluationError(
                "backend=vllm needs vLLM, which is not installed: `pip install vllm` (it wants versions of torch and "
                "transformers of its own: mostly in an environment of its own), or backend=huggingface; a model that "
                "`vllm serve` serves elsewhere is evaluated by backend=completions"
            )

    def start(self, ref: ModelRef, tokenizer: Any, batch_size: int | None, replies: Path) -> Running:
        """Start the engine."""
        from siftune.evaluate.backends.vllm_model import VLLMModel

        return VLLMModel(ref, tokenizer, self, batch_size)


@dataclass(frozen=True, kw_only=True)
class CompletionsEndpoint(Endpoint):
    """A model behind /completions of an OpenAI-compatible endpoint that echoes log-probabilities (vLLM).

    The config's model, whose weights are not loaded, gives the tokenizer and the chat template: it must be the one that
    is served.
    """

    scores_tokens: ClassVar[bool] = True
    place: ClassVar[str] = "backend"

    max_length: int | None = None
    """Tokens of a prompt and its answer together; null: what the model's config says."""

    def inputs(self) -> dict[str, str]:
        """The name of the model, and what requests say besides."""
        return {"backend": _identity("completions", self, max_length=self.max_length)}

    def check(self) -> None:
        """Whether it is there is looked at when the plan is made, as of all endpoints."""

    def start(self, ref: ModelRef, tokenizer: Any, batch_size: int | None, replies: Path) -> Running:
        """Look whether the endpoint is there."""
        from siftune.evaluate.backends.completions import CompletionsModel

        return CompletionsModel(ref, tokenizer, self, replies)


@dataclass(frozen=True, kw_only=True)
class ChatEndpoint(Endpoint):
    """A model behind /chat/completions of an OpenAI-compatible endpoint: it writes, and does not score.

    The config's model is not used.
    """

    scores_tokens: ClassVar[bool] = False
    place: ClassVar[str] = "backend"
    how_to_leave_out: ClassVar[str] = "an entry that the model does not take is left out by backend.leave_out"

    continues: bool = False
    """Whether the endpoint goes on with an assistant's turn that has begun, by continue_final_message (vLLM):
    some tasks put the answer's beginning into the model's mouth."""

    leave_out: tuple[str, ...] = ()
    """Entries of a request's body that the endpoint does not take, e.g. [temperature, stop, seed, max_tokens] of
    OpenAI's reasoning models; with extra: {max_completion_tokens: 4096} in place of the last."""

    def inputs(self) -> dict[str, str]:
        """The name of the model, and what requests say besides."""
        return {"backend": _identity("chat", self, leave_out=sorted(self.leave_out), continues=self.continues)}

    def check(self) -> None:
        """Whether it is there is looked at when the plan is made, as of all endpoints."""

    def start(self, ref: ModelRef, tokenizer: Any, batch_size: int | None, replies: Path) -> Running:
        """Look whether the endpoint is there."""
        from siftune.evaluate.backends.chat import ChatModel

        return ChatModel(self, replies)


HERE = HuggingFace()
"""Where nothing else is said."""

Backend = HuggingFace | VLLM | CompletionsEndpoint | ChatEndpoint


def _identity(kind: str, endpoint: Endpoint, **own: Any) -> str:
    return json.dumps({"kind": kind, "model": endpoint.model, "extra": dict(endpoint.extra), **own}, sort_keys=True)
