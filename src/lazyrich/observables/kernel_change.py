"""Numbers that say how a kernel moved and what it prefers."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Kernel = Float[Tensor, "..."]


@torch.no_grad()
def relative_change(kernel: Kernel, reference: Kernel) -> float:
    """Relative displacement, `‖Θ − Θ_0‖_F / ‖Θ_0‖_F`.

    Args:
        kernel: Θ, any shape.
        reference: Θ_0, the same shape.

    Returns:
        A number ≥ 0; NaN if Θ_0 = 0.

    Example:
        >>> relative_change(2 * torch.eye(3), torch.eye(3))
        1.0
    """
    difference = kernel.double() - reference.double()
    return float(difference.norm() / reference.double().norm())


@torch.no_grad()
def kernel_distance(kernel: Kernel, reference: Kernel) -> float:
    """Rotation without scale, `1 − ⟨Θ, Θ_0⟩/(‖Θ‖‖Θ_0‖)` (Fort et al. 2020, arXiv:2010.15110).

    Args:
        kernel: Θ, any shape.
        reference: Θ_0, the same shape.

    Returns:
        A number in [0, 2]; computed as ½‖Θ/‖Θ‖ − Θ_0/‖Θ_0‖‖², which keeps small distances.

    Example:
        >>> kernel_distance(2 * torch.eye(3), torch.eye(3))
        0.0
    """
    a, b = kernel.double(), reference.double()
    return float(0.5 * (a / a.norm() - b / b.norm()).square().sum())


@torch.no_grad()
def trace_ratio(kernel: Float[Tensor, "n k n k"], reference: Float[Tensor, "n k n k"]) -> float:
    """Growth of the kernel's scale, `tr Θ / tr Θ_0`.

    Args:
        kernel: Θ.
        reference: Θ_0.

    Returns:
        A number ≥ 0; NaN if both are zero.
    """
    return float(_matrix(kernel).trace() / _matrix(reference).trace())


def velocity(later: Kernel, earlier: Kernel, elapsed: float) -> float:
    """Relative change a unit of time, `‖Θ(t+s) − Θ(t)‖ / (s ‖Θ(t)‖)`.

    Args:
        later: Θ(t+s).
        earlier: Θ(t).
        elapsed: s > 0, in the unit of time that the caller counts in.

    Returns:
        A rate ≥ 0 in 1/time.
    """
    return relative_change(later, earlier) / elapsed


@torch.no_grad()
def effective_rank(kernel: Float[Tensor, "n k n k"]) -> float:
    """Exponential of the entropy of the kernel's spectrum, `exp(−Σ p_i ln p_i)`, p = λ/Σλ.

    Args:
        kernel: Θ, positive semi-definite.

    Returns:
        Between 1 and n·k (Roy & Vetterli 2007).

    Example:
        >>> round(effective_rank(torch.eye(6).view(3, 2, 3, 2)), 12)
        6.0
    """
    eigenvalues = torch.linalg.eigvalsh(_matrix(kernel)).clamp(min=0)
    p = eigenvalues / eigenvalues.sum()
    return float(torch.special.entr(p).sum().exp())


@torch.no_grad()
def target_alignment(kernel: Float[Tensor, "n k n k"], targets: Float[Tensor, "n k"]) -> float:
    """Alignment of the kernel with the task, `yᵀΘy / (‖Θ‖_F ‖y‖²)`.

    Args:
        kernel: Θ.
        targets: y, (samples, outputs), centred by the caller if wanted.

    Returns:
        Between 0 and 1 (Baratin et al. 2021, arXiv:2008.00938).

    Example:
        >>> y = torch.tensor([[1.0], [-1.0]])
        >>> round(target_alignment((y @ y.T).view(2, 1, 2, 1), y), 12)
        1.0
    """
    theta, y = _matrix(kernel), targets.double().flatten()
    return float(y @ theta @ y / (theta.norm() * (y @ y)))


def _matrix(kernel: Float[Tensor, "n k n k"]) -> Float[Tensor, "nk nk"]:
    return kernel.double().flatten(2).flatten(0, 1)
