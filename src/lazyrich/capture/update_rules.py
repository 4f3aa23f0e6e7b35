"""What SGD and Adam make of one gradient, as pure functions of tensors of any shape."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor


def momentum_buffer(
    g: Tensor, previous: Tensor | None, *, momentum: float, dampening: float = 0.0
) -> Tensor:
    r"""The buffer of SGD with momentum, \(b \leftarrow \mu b + (1 - d) g\).

    Args:
        g: the gradient.
        previous: b after the step before; None on the first step, which takes the gradient whole.
        momentum: μ.
        dampening: d.

    Returns:
        b, by whose −η-fold the parameters move.

    Example:
        >>> momentum_buffer(torch.tensor(1.0), torch.tensor(2.0), momentum=0.5)
        tensor(2.)
    """
    return g if previous is None else (momentum * previous).add_(g, alpha=1 - dampening)


@dataclass(frozen=True, kw_only=True)
class AdamStep:
    r"""A step of Adam, \(-\eta\, \hat m / (\sqrt{\hat v} + \epsilon)\), without its rate η.

    Attributes:
        mean: m, the running mean of the gradient; \(\hat m = m / \text{bias}\).
        square: v, the running mean of the gradient's square.
        bias: 1 − β₁ᵗ.
        root: \(\sqrt{\hat v} + \epsilon\), by which rates are divided.
    """

    mean: Tensor
    square: Tensor
    bias: float
    root: Tensor


def adam(
    g: Tensor,
    mean: Tensor,
    square: Tensor,
    *,
    step: int,
    betas: tuple[float, float],
    eps: float,
    largest: Tensor | None = None,
) -> AdamStep:
    r"""The step of Adam, Kingma & Ba (ICLR 2015, arXiv:1412.6980), algorithm 1.

    \(m \leftarrow \beta_1 m + (1 - \beta_1) g\), \(v \leftarrow \beta_2 v + (1 - \beta_2) g^2\),
    \(\hat v = v / (1 - \beta_2^t)\).

    Args:
        g: the gradient.
        mean: m after the step before, 0 at first.
        square: v after the step before, 0 at first.
        step: t, the number of this step, ≥ 1.
        betas: β₁ and β₂.
        eps: ε.
        largest: the largest v so far, in whose place a smaller one is taken (AMSGrad).

    Returns:
        The step and the new means.

    Example:
        >>> zero = torch.zeros(())
        >>> made = adam(torch.tensor(4.0), zero, zero, step=1, betas=(0.9, 0.999), eps=0.0)
        >>> round((made.mean / made.bias / made.root).item(), 6)  # the first step is the sign
        1.0
    """
    beta_1, beta_2 = betas
    m = torch.lerp(mean, g, 1 - beta_1)
    v = (beta_2 * square).addcmul_(g, g, value=1 - beta_2)
    used = v if largest is None else torch.maximum(v, largest)
    root = used.sqrt() / sqrt(1 - beta_2**step) + eps
    return AdamStep(mean=m, square=v, bias=1 - beta_1**step, root=root)
