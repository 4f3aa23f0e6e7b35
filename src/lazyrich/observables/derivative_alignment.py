"""Derivative alignment: the centred ansatz in the limit of no training.

At t = 0 the change W̄ = W − W_0 vanishes, and with it `W̄ᵀW̄`, `W̄ᵀKW̄` and their first derivatives.
Their second ones are `2ẆᵀẆ` and `2ẆᵀK_0Ẇ`, so that the limit of their correlation needs one
gradient. With rows `r_ic h_i` of X̃ and the Gram matrix 𝒦 of the tangent features these are
`X̃ᵀ𝒦X̃/n²` and `X̃ᵀ𝒦²X̃/n³`: alignment of labelled inputs with the tangent features' directions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.observables.ansatz import Correlation, ansatz_correlation, ptk


@torch.no_grad()
def predicted_centred(
    inputs: Float[Tensor, "n t d"],
    gradients: Float[Tensor, "n c t k"],
    residual: Float[Tensor, "n c"],
    *,
    correlation: Correlation = "cosine",
) -> float:
    """Centred correlation at the start of gradient flow, from one batch before training.

    `lim_{t→0} C-NFA = ρ(ẆᵀẆ, ẆᵀKẆ)`, `Ẇ = (1/n) Σ r g hᵀ`, exact at any depth.

    Args:
        inputs: h, (samples, positions, inputs).
        gradients: g, (samples, outputs, positions, neurons).
        residual: `r = −∂L/∂f` up to a factor; `y − f` for the squared loss.
        correlation: cosine, or Pearson over all d² entries.

    Returns:
        Between −1 and 1; NaN if the gradient vanishes.

    Example:
        >>> one_direction = torch.ones(4, 1, 1, 3)
        >>> round(predicted_centred(torch.randn(4, 1, 5), one_direction, torch.randn(4, 1)), 6)
        1.0

    References:
        Beaglehole, Mitliagkas & Agarwala, arXiv:2402.05271.
    """
    n = len(inputs)
    pulled = torch.einsum("nc,nctk->ntk", residual.double(), gradients.double())
    first_step = torch.einsum("ntk,ntd->kd", pulled, inputs.double()) / n
    return ansatz_correlation(first_step, ptk(gradients, n), correlation=correlation)
