"""A network with its initial function taken away and its output scaled: α(h − h₀)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.capture.isolation import single_output, unwrap
from lazyrich.capture.network import BATCH_NORM


class CentredOutput(nn.Module):
    """The module α(h(x) − h₀(x)), with h₀ a frozen copy of the network as it is now.

    The output is zero at the start; α moves training between rich (small) and lazy (large). The
    copy is part of the module: `state_dict`, `torch.save` and `torch.compile` see an ordinary
    module. Its dropout is always off; its batch normalisation follows train and eval mode, so that
    it remains the network's own initial function. Each forward pass costs two of the network's.

    Args:
        network: the network h. It is kept, not copied: an optimiser still owns its parameters.
        scale: the output scale α > 0.

    Raises:
        InputError: `scale` is not a positive number.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> net = CentredOutput(nn.Linear(2, 1), scale=10.0)
        >>> net(torch.ones(3, 2)).abs().max().item()
        0.0

    Reference:
        Chizat, Oyallon & Bach, On lazy training in differentiable programming, arXiv:1812.07956.
    """

    scale: Tensor

    def __init__(self, network: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.network = unwrap(network)
        self.reference = deepcopy(self.network).requires_grad_(False)
        weight = next((p for p in self.network.parameters() if p.is_floating_point()), None)
        like = torch.zeros(()) if weight is None else weight
        self.register_buffer("scale", torch.ones((), dtype=like.dtype, device=like.device))
        self.set_scale(scale)
        self.training = self.network.training
        self._let_reference_follow()

    def set_scale(self, scale: float) -> None:
        """Change the output scale α, in place."""
        if not 0 < scale < float("inf"):
            raise InputError(f"the output scale must be a positive number, got {scale}.")
        self.scale.fill_(scale)

    def train(self, mode: bool = True) -> CentredOutput:
        """Set train or eval mode; the frozen copy follows with its batch normalisation only."""
        super().train(mode)
        self._let_reference_follow()
        return self

    def _let_reference_follow(self) -> None:
        self.reference.eval()
        for module in self.reference.modules():
            if isinstance(module, BATCH_NORM):
                module.train(self.training)

    @property
    def title(self) -> str:
        """What a reader should see in place of this wrapper's name."""
        return f"{type(self.network).__name__} (centred, scale {self.scale.item():.3g})"

    def forward(self, *args: Any, **kwargs: Any) -> Float[Tensor, "..."]:  # noqa: ANN401
        """The centred and scaled output."""
        with torch.no_grad():
            h0 = single_output(self.reference(*args, **kwargs))
        return self.scale * (single_output(self.network(*args, **kwargs)) - h0)
