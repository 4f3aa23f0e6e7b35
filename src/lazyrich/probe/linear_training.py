"""How the outputs of a model that is linear in its parameters move in training.

Under squared error this is solved. With `L = s‖f − y‖²/2`, `f = f₀ + J(θ − θ₀)` and `Θ = J Jᵀ` each
eigenvector of `sΘ` has a residual of its own: it falls as `e^{−λt}` under gradient flow and as
`(1 − ηλ)^n` under gradient descent. Under any other loss descent is followed step by step, on the
outputs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich._arguments import as_number, shown
from lazyrich._errors import InputError
from lazyrich.capture.network import gradient

Outputs = Float[Tensor, "n k"]


When = float | int | Sequence[float | int] | Tensor
"""One number, or several."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Times of gradient flow, or numbers of steps of gradient descent.

    Attributes:
        values: t or n, may be infinite.
        lr: η of descent; None of flow.
        several: whether a sequence was asked for.
    """

    values: tuple[float, ...]
    lr: float | None
    several: bool

    def travels(self, eigenvalues: Float[Tensor, " r"]) -> list[Float[Tensor, " r"]]:
        """φ at each moment, see `flow_travel` and `descent_travel`.

        Args:
            eigenvalues: λ > 0.
        """
        if self.lr is None:
            return [flow_travel(eigenvalues, float(t)) for t in self.values]
        return [descent_travel(eigenvalues, self.lr, float(n)) for n in self.values]


def checked_moments(time: When | None, steps: When | None, lr: float | None) -> Moments:
    """The moments that are asked for.

    Args:
        time: t ≥ 0, one or several, or else `steps`.
        steps: n ≥ 0, one or several.
        lr: η > 0, with `steps` alone.

    Raises:
        InputError: not exactly one of `time` and `steps`, or something is out of range.
    """
    if (time is None) == (steps is None):
        came = "neither" if time is None else "both"
        raise InputError(
            f"exactly one of `time` and `steps` must be given, got {came}. Pass time=float('inf') "
            "for kernel regression."
        )
    name, given = ("time", time) if steps is None else ("steps", steps)
    several = isinstance(given, Sequence) or getattr(given, "ndim", 0) > 0
    values = [as_number(one) for one in cast(Any, given)] if several else [as_number(given)]
    whole_only = name == "steps"
    good = [one is not None and one >= 0 and not (whole_only and one % 1 > 0) for one in values]
    if not values or not all(good):
        kind = "whole numbers ≥ 0" if whole_only else "numbers ≥ 0"
        raise InputError(
            f"`{name}` must be {kind} or infinite, got {shown(given)}. "
            f"Pass such as {name}={'100' if whole_only else '10.0'}."
        )
    rate = as_number(lr)
    if name == "time" and lr is not None:
        raise InputError(
            f"`lr` must be left out with `time`, got {shown(lr)}. Gradient flow has none: `steps` "
            "of it take the time `lr` times `steps`."
        )
    if name == "steps" and (rate is None or not 0 < rate < inf):
        raise InputError(
            f"`lr` must be a number > 0 with `steps`, got {shown(lr)}. Pass that of the training."
        )
    return Moments(values=tuple(cast(list[float], values)), lr=rate, several=several)


@dataclass(frozen=True, kw_only=True)
class LinearTraining:
    """The training samples in the eigenvectors of their kernel, in float64.

    Attributes:
        start: f₀.
        curvature: s, the second derivative of the loss along an output.
        eigenvalues: λ of sΘ, but for those that rounding cannot tell from zero.
        eigenvectors: u, one a column.
        residuals: `uᵀ(f₀ − y)`.
    """

    start: Outputs
    curvature: float
    eigenvalues: Float[Tensor, " r"]
    eigenvectors: Float[Tensor, "nk r"]
    residuals: Float[Tensor, " r"]

    def reached(self, travel: Float[Tensor, " r"]) -> Outputs:
        """Outputs on the training samples, `f₀ − U λφ Uᵀ(f₀ − y)`.

        Args:
            travel: φ, of `flow_travel` or `descent_travel`.
        """
        moved = self.eigenvectors @ (self.eigenvalues * travel * self.residuals)
        return self.start - moved.view_as(self.start)

    def pull(self, travel: Float[Tensor, " r"]) -> Outputs:
        """`p = s U φ Uᵀ(f₀ − y)`, see `carried`.

        Args:
            travel: the same as for `reached`.
        """
        pulled = self.curvature * (self.eigenvectors @ (travel * self.residuals))
        return pulled.view_as(self.start)


def carried(
    start: Float[Tensor, "m k"], kernel: Float[Tensor, "m k n k"], pull: Outputs
) -> Float[Tensor, "m k"]:
    """Outputs on any samples, `f₀(x) − Θ(x, X) p`.

    Args:
        start: f₀(x).
        kernel: Θ(x, X) between them and the training samples.
        pull: p, the integral or the sum of η ∂L/∂f over training.
    """
    return start - (kernel.double().flatten(2).flatten(0, 1) @ pull.flatten()).view_as(start)


def solved_training(
    kernel: Float[Tensor, "n k n k"], start: Outputs, targets: Outputs, curvature: float
) -> LinearTraining:
    """Diagonalise the kernel of the training samples.

    Args:
        kernel: Θ(X, X).
        start: f₀(X).
        targets: y.
        curvature: s.
    """
    rows = start.numel()
    lam, u = torch.linalg.eigh(curvature * kernel.double().reshape(rows, rows))
    told = lam > lam[-1] * rows * torch.finfo(kernel.dtype).eps
    residual = (start.double() - targets.double()).flatten()
    return LinearTraining(
        start=start.double(),
        curvature=curvature,
        eigenvalues=lam[told],
        eigenvectors=u[:, told],
        residuals=u[:, told].T @ residual,
    )


def descent_pulls(
    kernel: Float[Tensor, "n k n k"],
    start: Outputs,
    loss: Callable[[Tensor], Tensor],
    lr: float,
    moments: Sequence[int],
) -> list[Outputs]:
    """`Σ_{i<n} η ∂L/∂f_i` of gradient descent under any loss, step by step in output space.

    Args:
        kernel: Θ(X, X).
        start: f₀(X).
        loss: L(f).
        lr: η.
        moments: each n wanted.

    Returns:
        Of each n the sum p, so that `f_n(x) = f₀(x) − Θ(x, X) p`.
    """
    rows = start.numel()
    theta, pull = kernel.double().reshape(rows, rows), torch.zeros_like(start).double()
    found = {0: pull}
    for step in range(1, max(moments, default=0) + 1):
        f = start.double() - (theta @ pull.flatten()).view_as(start)
        pull = pull + lr * gradient(loss, f)
        if step in moments:
            found[step] = pull
    return [found[n] for n in moments]


def flow_travel(eigenvalues: Float[Tensor, " r"], time: float) -> Float[Tensor, " r"]:
    """`φ = ∫₀ᵗ e^{−λt'} dt' = (1 − e^{−λt})/λ` of gradient flow.

    Args:
        eigenvalues: λ > 0.
        time: t ≥ 0, may be infinite.

    Example:
        >>> flow_travel(torch.tensor([0.5, 2.0]), inf)
        tensor([2.0000, 0.5000])
    """
    return -torch.expm1(-eigenvalues * time) / eigenvalues


def descent_travel(eigenvalues: Float[Tensor, " r"], lr: float, steps: float) -> Tensor:
    """`φ = η Σ_{i<n} (1 − ηλ)^i = (1 − (1 − ηλ)^n)/λ` of gradient descent.

    Args:
        eigenvalues: λ > 0.
        lr: η > 0.
        steps: n ≥ 0, a whole number or infinite.

    Raises:
        InputError: infinitely many steps with a learning rate that makes training diverge.

    Example:
        >>> descent_travel(torch.tensor([0.5, 2.0]), 0.5, 1.0)
        tensor([0.5000, 0.5000])
    """
    if steps == inf:
        edge = float(2 / eigenvalues.max()) if len(eigenvalues) else inf
        if lr >= edge:
            raise InputError(
                f"`lr` must be less than {edge:.3g} for training to converge, got {lr:.3g}. Lower "
                "it, or pass a finite number of steps."
            )
        return 1 / eigenvalues
    left = (1 - lr * eigenvalues) ** steps
    small = torch.expm1(steps * torch.log1p(-(lr * eigenvalues).clamp(max=0.5)))
    return torch.where(lr * eigenvalues < 0.5, -small, 1 - left) / eigenvalues
