"""A network's linearisation f(θ₀) + J(θ − θ₀): one forward pass, then J and Jᵀ as often as wanted.

Both are read off one graph. Jᵀu is a backward pass. It is linear in u, so that a backward pass
through it takes v to Jv: reverse mode alone, which fused kernels and custom functions have.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.network import Parameters, refuse_silent_ends

Function = Callable[[Parameters], Tensor]
"""θ ↦ f(θ), on one batch."""


class Linearisation:
    """The Jacobian J of a function at one point.

    Args:
        function: θ ↦ f(θ), differentiable twice.
        at: θ₀.

    Attributes:
        at: θ₀.
        outputs: f(θ₀).

    Example:
        >>> square = Linearisation(lambda theta: theta["a"] ** 2, {"a": torch.tensor([3.0])})
        >>> square.outputs, square.times({"a": torch.ones(1)}), square.transposed(torch.ones(1))
        (tensor([9.]), tensor([6.]), {'a': tensor([6.])})
    """

    def __init__(self, function: Function, at: Parameters) -> None:
        self.at = {name: p.detach() for name, p in at.items()}
        self._leaves = {name: p.detach().clone().requires_grad_() for name, p in at.items()}
        self._f = function(self._leaves)
        self.outputs = self._f.detach()
        self._u = torch.zeros_like(self.outputs, requires_grad=True)
        rows = torch.autograd.grad(
            self._f, list(self._leaves.values()), self._u, create_graph=True, allow_unused=True
        )
        refuse_silent_ends([row for row in rows if row is not None])
        self._rows = {
            name: row
            for name, row in zip(self._leaves, rows, strict=True)
            if row is not None and row.requires_grad
        }

    def transposed(self, u: Float[Tensor, "n *k"]) -> Parameters:
        """Jᵀu, by parameter name."""
        rows = torch.autograd.grad(
            self._f, list(self._leaves.values()), u, retain_graph=True, allow_unused=True
        )
        return {
            name: torch.zeros_like(p) if row is None else row
            for (name, p), row in zip(self.at.items(), rows, strict=True)
        }

    def times(self, v: Parameters) -> Float[Tensor, "n *k"]:
        """Jv; parameters that are not in v count as 0."""
        names = [name for name in self._rows if name in v]
        if not names:
            return torch.zeros_like(self.outputs)
        (product,) = torch.autograd.grad(
            [self._rows[name] for name in names],
            self._u,
            [v[name].to(self._rows[name]) for name in names],
            retain_graph=True,
            allow_unused=True,
        )
        return torch.zeros_like(self.outputs) if product is None else product

    def at_displaced(self, theta: Parameters) -> Float[Tensor, "n *k"]:
        """f(θ₀) + J(θ − θ₀)."""
        return self.outputs + self.times({name: p - self.at[name] for name, p in theta.items()})
