"""LoRA layers on CPUs: the adapter's update is added inside the matrix product that needs it anyway.

peft widens the layer's input to the adapters' float32, multiplies in float32, scales, adds and rounds: six passes over
arrays as large as the activations, half of a layer's time on a CPU. Here the adapters are rounded to the base
layer's format first, as automatic mixed precision does.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn


class LoraProduct(torch.autograd.Function):
    """x @ (W + scale B A).T for frozen W; A and B are float32 and get float32 gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
        """`x` (n, i), `weight` (o, i), `down` A (r, i), `up` B (o, r) -> (n, o)."""
        low, high = down.to(x.dtype), (up * scale).to(x.dtype)
        projected = x @ low.T
        ctx.save_for_backward(x, weight, low, high, projected)
        ctx.scale, ctx.dtype = scale, down.dtype
        return torch.addmm(x @ weight.T, projected, high.T)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, Tensor, Tensor, None]:
        """Gradients of x, A and B."""
        x, weight, low, high, projected = ctx.saved_tensors
        (grad,) = grads
        grad_projected = grad @ high
        grad_x = torch.addmm(grad @ weight, grad_projected, low) if ctx.needs_input_grad[0] else None
        grad_down = (grad_projected.T @ x).to(ctx.dtype)
        grad_up = (grad.T @ projected).to(ctx.dtype).mul_(ctx.scale)
        return grad_x, None, grad_down, grad_up, None


def fuse_adapters(model: nn.Module) -> int:
    """Give the LoRA layers of `model` that allow it the fused product; returns how many."""
    layers = [module for module in model.modules() if isinstance(module, LoraLinear) and _is_plain(module)]
    for layer in layers:
        layer.forward = types.MethodType(_forward, layer)  # type: ignore[method-assign]
    return len(layers)


def _is_plain(layer: LoraLinear) -> bool:
    (name, *others) = layer.lora_A
    is_variant = bool(others) or name in layer.lora_variant or layer.lora_B[name].bias is not None
    has_dropout = not isinstance(layer.lora_dropout[name], nn.Identity)
    base = layer.get_base_layer()
    return not (is_variant or has_dropout or layer.fan_in_fan_out) and type(base) is nn.Linear


def _forward(self: LoraLinear, x: Tensor) -> Tensor:
    assert self.active_adapters == list(self.lora_A), "the fused layer is for training only"
    (name,) = self.lora_A
    base = self.get_base_layer()
    flat = x.reshape(-1, x.shape[-1])
    product = LoraProduct.apply(
        flat, base.weight, self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
    )
    product = product if base.bias is None else product + base.bias
    return product.view(*x.shape[:-1], -1)
