"""Gradients of LoRA adapters for each row of a batch by itself, out of one backward pass.

The gradient of an adapter's matrix is a sum over tokens of outer products, of what goes into it and of the gradient of
what comes out. Summed over the tokens of one row at a time, these are the gradients that the row alone gives.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn

Sink = Callable[["AdapterLayer", Tensor], None]
"""Told a layer and the (n, d) float32 gradients of its adapter, the rows of A and then those of B, row by row."""


@dataclass(frozen=True)
class AdapterLayer:
    """A layer with an adapter, and where its parameters stand among those of all."""

    name: str
    module: LoraLinear
    offset: int
    """Adapter parameters of the layers before it."""

    @property
    def matrices(self) -> tuple[Tensor, Tensor]:
        """A (r, i) and B (o, r)."""
        (adapter,) = self.module.lora_A
        down, up = self.module.lora_A[adapter], self.module.lora_B[adapter]
        assert isinstance(down, nn.Linear)
        assert isinstance(up, nn.Linear)
        return down.weight, up.weight

    @property
    def parameters(self) -> tuple[str, str]:
        """Their names in the model."""
        (adapter,) = self.module.lora_A
        return f"{self.name}.lora_A.{adapter}.weight", f"{self.name}.lora_B.{adapter}.weight"

    @property
    def size(self) -> int:
        """Number of adapter parameters."""
        return sum(matrix.numel() for matrix in self.matrices)


class _Product(torch.autograd.Function):
    """x @ (W + scale B A).T; the backward pass hands each row's gradients of A and B on and returns none for them."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, down: Tensor, up: Tensor, scale: float, hand_on: Callable[[Tensor], None]
    ) -> Tensor:
        """`x` (n, t, i), `weight` (o, i), `down` A (r, i), `up` B (o, r) -> (n, t, o)."""
        low, high = down.to(x.dtype), (up * scale).to(x.dtype)
        projected = x @ low.T
        ctx.save_for_backward(x, weight, low, high, projected)
        ctx.scale, ctx.hand_on = scale, hand_on
        return x @ weight.T + projected @ high.T

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, None, None, None]:
        """The gradient of x."""
        x, weight, low, high, projected = ctx.saved_tensors
        (grad,) = grads
        grad_projected = grad @ high
        grad_down = torch.bmm(grad_projected.transpose(1, 2), x)
        grad_up = torch.bmm(grad.transpose(1, 2), projected) * ctx.scale
        ctx.hand_on(torch.cat([grad_down.flatten(1), grad_up.flatten(1)], dim=1).float())
        grad_x = grad @ weight + grad_projected @ low if ctx.needs_input_grad[0] else None
        return grad_x, None, None, None, None, None


def hand_on_gradients(model: nn.Module, sink: Sink) -> list[AdapterLayer]:
    """Make every backward pass through `model` tell `sink` each row's gradients; returns the layers in their order.

    ValueError for adapters that are not on plain linear layers. The model is for this alone from then on.
    """
    model.requires_grad_(False)
    layers, offset = [], 0
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            _require_plain(name, module)
            layer = AdapterLayer(name, module, offset)
            # The pass must reach the first layer too, below which nothing has a gradient.
            layer.matrices[0].requires_grad_(True)
            module.forward = types.MethodType(_forward_of(layer, sink), module)  # type: ignore[method-assign]
            layers.append(layer)
            offset += layer.size
    if not layers:
        raise ValueError("the model has no LoRA adapters on linear layers, whose gradients LESS compares")
    return layers


def _forward_of(layer: AdapterLayer, sink: Sink) -> Callable[[LoraLinear, Tensor], Tensor]:
    base, (down, up) = layer.module.get_base_layer(), layer.matrices
    assert isinstance(base, nn.Linear)
    (scale,) = layer.module.scaling.values()

    def hand_on(gradients: Tensor) -> None:
        sink(layer, gradients)

    def forward(self: LoraLinear, x: Tensor) -> Tensor:
        product: Tensor = _Product.apply(x, base.weight, down, up, scale, hand_on)
        return product if base.bias is None else product + base.bias

    return forward


def _require_plain(name: str, layer: LoraLinear) -> None:
    (adapter, *others) = layer.lora_A
    is_variant = bool(others) or adapter in layer.lora_variant or layer.lora_B[adapter].bias is not None
    if is_variant or layer.fan_in_fan_out or type(layer.get_base_layer()) is not nn.Linear:
        raise ValueError(f"gradients of the adapter on {name} cannot be taken row by row: it is not a plain LoRA layer")
