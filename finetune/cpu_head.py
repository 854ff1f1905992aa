"""The loss on CPUs: the LM head is run at the trained positions only, and its gradient is taken in the same pass.

TRL's head scores every position on devices without Triton, recomputes the logits in the backward pass and also
computes entropies. This gives the same loss and gradient with a third of the work.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

CHUNK = 512
"""Positions whose logits exist at the same time: 100 MB of float32 for a vocabulary of 50,000."""

_LOGIT_RULES = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
    "output_router_logits",
)
"""Settings of model configs that change logits or loss; a model that has one goes TRL's way."""


class SummedCrossEntropy(torch.autograd.Function):
    """Sum over positions of -log softmax(hidden @ weight.T)[target], in nats."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        """`hidden` (n, d), `weight` (V, d), `targets` (n,) int64 -> () float32."""
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else hidden.dtype
        trains_weight = ctx.needs_input_grad[1]
        with torch.autocast("cpu", enabled=False):
            rows, head = hidden.to(dtype), weight.to(dtype)
            grad_hidden = torch.empty_like(rows)
            grad_weight = torch.zeros_like(weight, dtype=torch.float32) if trains_weight else None
            loss = torch.zeros((), dtype=torch.float32)
            for start in range(0, len(rows), CHUNK):
                part = slice(start, start + CHUNK)
                chunk_loss, grad_logits = _loss_and_gradient(rows[part] @ head.T, targets[part])
                loss += chunk_loss
                grad_logits = grad_logits.to(dtype)
                torch.mm(grad_logits, head, out=grad_hidden[part])
                if grad_weight is not None:
                    grad_weight += grad_logits.T @ rows[part]
        ctx.save_for_backward(grad_hidden.to(hidden.dtype), grad_weight)
        ctx.weight_dtype = weight.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """The gradients were computed with the loss; only the outer factor is missing."""
        grad_hidden, grad_weight = ctx.saved_tensors
        factor = grads[0]
        if grad_weight is not None:
            grad_weight = grad_weight.mul_(factor).to(ctx.weight_dtype)
        return grad_hidden * factor.to(grad_hidden.dtype), grad_weight, None


def supports(model: PreTrainedModel) -> bool:
    """Whether the model's logits are its last hidden states times the head's weight, and nothing else."""
    head = model.get_output_embeddings()
    config = model.config.get_text_config()
    plain = isinstance(head, torch.nn.Linear) and head.bias is None
    return plain and not any(getattr(config, rule, None) for rule in _LOGIT_RULES)


def add_summed_loss(model: PreTrainedModel) -> None:
    """Teach `model` to answer `model(..., labels=labels, summed_loss=True)` with the summed loss of its labels.

    The forward is patched, as TRL does, so that wrappers around the model (peft, data parallel) still see the call.
    """
    original = model.forward

    @functools.wraps(type(model).forward)
    def forward(self: Any, *args: Any, summed_loss: bool = False, **kwargs: Any) -> Any:
        if not summed_loss:
            return original(*args, **kwargs)
        labels = kwargs.pop("labels")[:, 1:]
        hidden = self.base_model(*args, use_cache=False, **kwargs).last_hidden_state[:, :-1]
        trained = labels != -100
        return SummedCrossEntropy.apply(hidden[trained], self.get_output_embeddings().weight, labels[trained])

    model.forward = types.MethodType(forward, model)


def _loss_and_gradient(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy and its gradient with respect to the logits (softmax minus one-hot), both float32."""
    scores = logits.float()
    log_z = torch.logsumexp(scores, dim=-1, keepdim=True)
    index = targets.unsqueeze(1)
    loss = (log_z - scores.gather(1, index)).sum()
    probabilities = scores.sub_(log_z).exp_()
    probabilities.scatter_add_(1, index, torch.full(index.shape, -1.0))
    return loss, probabilities
