"""The step that Adam would take for the gradient of one row (LESS, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch

from siftune.finetune.snapshots import AdamState
from siftune.selection.features.training.gradients import Preconditioner
from siftune.selection.features.training.sample_gradients import AdapterLayer


class AdamDirection:
    """m' = b1 m + (1 - b1) g and v' = b2 v + (1 - b2) g^2, for a checkpoint's moments m and v after t steps.

    adam: m'/(1 - b1^(t+1)) / (sqrt(v'/(1 - b2^(t+1))) + eps), what the optimiser that trained would do. authors: the
    published code's m' / sqrt(v' + eps), whose eps (1e-8) is larger than most of v' and so evens the directions out.
    """

    def __init__(self, kind: Preconditioner, state: AdamState, layers: Sequence[AdapterLayer]) -> None:
        assert kind in get_args(Preconditioner)
        self._kind = kind
        self._state = state
        self._moments = {layer.name: (_flat(state.first, layer), _flat(state.second, layer)) for layer in layers}

    def __call__(self, layer: AdapterLayer, gradients: torch.Tensor) -> torch.Tensor:
        """(n, d) of the (n, d) gradients of a layer's adapter; those are overwritten."""
        first, second = (moment.to(gradients.device) for moment in self._moments[layer.name])
        (beta1, beta2), eps, step = self._state.betas, self._state.eps, self._state.step + 1
        v = gradients.square().mul_(1 - beta2).add_(second, alpha=beta2)
        m = gradients.mul_(1 - beta1).add_(first, alpha=beta1)
        if self._kind == "authors":
            return m.div_(v.add_(eps).sqrt_())
        v.div_(1 - beta2**step).sqrt_().add_(eps)
        return m.div_(v).div_(1 - beta1**step)


def _flat(moments: dict[str, torch.Tensor], layer: AdapterLayer) -> torch.Tensor:
    missing = [name for name in layer.parameters if name not in moments]
    if missing:
        raise ValueError(f"the checkpoint's Adam state has no moments of {missing[0]}: it belongs to another adapter")
    return torch.cat([moments[name].flatten() for name in layer.parameters])
