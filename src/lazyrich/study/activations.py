"""Activation functions by name, of networks and of teachers that make data."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Quadratic(nn.Module):
    """φ(z) = z².

    Example:
        >>> Quadratic()(torch.tensor([-2.0, 3.0]))
        tensor([4., 9.])
    """

    def forward(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The squares."""
        return z.square()


class Erf(nn.Module):
    """φ(z) = erf(z), the error function.

    Example:
        >>> Erf()(torch.tensor([0.0, 9.0]))
        tensor([0., 1.])
    """

    def forward(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The error function of every entry."""
        return torch.erf(z)


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "quadratic": Quadratic,
    "erf": Erf,
    "gelu": nn.GELU,
}
"""Every activation function by its name."""
