"""How the outputs of a model that is linear in its parameters move under squared error, solved.

With `L = s‖f − y‖²/2`, `f = f₀ + J(θ − θ₀)` and `Θ = J Jᵀ` every eigenvector of `sΘ` has a residual
of its own: it falls as `e^{−λt}` under gradient flow and as `(1 − ηλ)^n` under gradient descent.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich._errors import InputError

Outputs = Float[Tensor, "n k"]


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

    def carried(
        self,
        start: Float[Tensor, "m k"],
        kernel: Float[Tensor, "m k n k"],
        travel: Float[Tensor, " r"],
    ) -> Float[Tensor, "m k"]:
        """Outputs on other samples, `f₀(x) − sΘ(x, X) U φ Uᵀ(f₀ − y)`.

        Args:
            start: f₀(x).
            kernel: Θ(x, X) between them and the training samples.
            travel: as for `reached`.
        """
        pulled = self.curvature * (self.eigenvectors @ (travel * self.residuals))
        return start - (kernel.double().flatten(2).flatten(0, 1) @ pulled).view_as(start)


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
