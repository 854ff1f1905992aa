"""Embeddings by a causal language model: RDS+ and its ablations (Ivison et al., arXiv 2503.01807)."""

from __future__ import annotations

from dataclasses import dataclass, field

from siftune.finetune.model_sources import Model, ModelRef
from siftune.selection.features.batching import default_budget
from siftune.selection.features.checks import require_at_least
from siftune.selection.features.encoders.encoder import OpenEncoder, Pooling, Storage, Text
from siftune.selection.features.encoders.instruction import check_instruction


@dataclass(frozen=True, kw_only=True)
class CausalLMEncoder:
    """A hidden layer of a causal language model, pooled over the row's tokens in the chat template."""

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""
    model: Model
    """The model whose hidden states are taken; RDS+ takes the base model that is to be trained."""
    pooling: Pooling = "position_weighted_mean"
    """RDS+ weights token t by t; `mean` and `last_token` are ablations of its Table 6."""
    text: Text = "conversation"
    """conversation: every turn. prompt: the turns before the final answer, with the template's generation prompt.
    response: the final answer's text alone, without a template."""
    hidden_layer: int = -1
    """Which layer's hidden states, counted as in `output_hidden_states`: 0 the token embeddings, k the output of the
    k-th block, -1 (the default, as RDS+) the last one after the final norm, -2 the block before it. The blocks above
    it are not computed."""
    instruction: str | None = None
    """Put before the first turn's content (text=response: before the answer), e.g. "Instruct: ...\\nQuery: " for models
    that were trained with one; on both sides of a comparison, pool rows and target queries alike. null: none."""
    max_length: int = 2048
    """Tokens beyond which a row is cut on the right (the paper's 2048); cut rows are counted."""
    storage: Storage = "float32"
    """Number format of the stored vectors; float16 halves the disk that they take (see docs/features.md)."""
    tokens_per_batch: int | None = field(default=None, metadata={"identity": False})
    """Positions of a batch, padding counted: does not change the result (beyond rounding), only speed and memory.
    null: 1024 on a CPU, 16384 on a GPU."""

    def __post_init__(self) -> None:
        require_at_least(self, "encoder", max_length=1, tokens_per_batch=1)
        check_instruction(self.instruction)

    def inputs(self) -> dict[str, str]:
        """Nothing besides the base model."""
        return {}

    def open(self, reference: ModelRef | None) -> OpenEncoder:
        """Load the model's backbone and tokenizer."""
        # Imported here, so that reading a config does not load torch.
        from siftune.finetune.model import load_backbone, load_tokenizer
        from siftune.selection.features.cpu_attention import use_fast_attention
        from siftune.selection.features.encoders.hidden_states import HiddenStateEncoder
        from siftune.selection.features.forward import end_at_layer

        assert reference is not None, "a causal LM encoder is opened with the reference of its model"
        backbone = load_backbone(reference)
        end_at_layer(backbone, self.hidden_layer, "encoder.hidden_layer")
        use_fast_attention(backbone)
        return HiddenStateEncoder(
            backbone,
            load_tokenizer(reference),
            pooling=self.pooling,
            text=self.text,
            instruction=self.instruction or "",
            max_length=self.max_length,
            tokens_per_batch=self.tokens_per_batch or default_budget(backbone.device.type),
        )
