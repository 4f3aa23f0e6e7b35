"""The centred ansatz of a quadratic network at the start, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor


def quadratic_network_prediction(
    input_covariance: Float[Tensor, "d d"],
    label_covariance: Float[Tensor, "d d"],
    *,
    width: int,
    readout_moments: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
) -> float:
    """Centred correlation (cosine) of `f = Σ_i a_i (w_i·x)²` at the start, by free probability.

    `ρ = N/√(D₁D₂)`, with the free cumulants `κ_j = (k/d) E[a^{2j}]` of `M = Wᵀdiag(a)²W`.

    Args:
        input_covariance: `S = XᵀX/n`.
        label_covariance: `S_y = (1/n) Σ y x xᵀ`, y the residual.
        width: k, the number of neurons, `w_i ~ N(0, I/d)`.
        readout_moments: `E[a²], E[a⁴], E[a⁶], E[a⁸]`; ones for `a = ±1`, 1, 3, 15, 105 if Gaussian.

    Returns:
        Between 0 and 1; exact for large d, k, n.

    Example:
        >>> import torch
        >>> one = torch.eye(8, dtype=torch.float64)
        >>> round(quadratic_network_prediction(one, one, width=8), 4)  # 5/√28
        0.9449

    References:
        Derived for this library; the network is that of arXiv:2402.05271.
    """
    d = len(input_covariance)
    s, s_y = input_covariance.double(), label_covariance.double()
    p = s_y @ s_y
    k1, k2, k3, k4 = (width / d * moment for moment in readout_moments)

    def tau(*factors: Tensor) -> float:
        product = factors[0]
        for factor in factors[1:]:
            product = product @ factor
        return float(product.trace()) / d

    t_p, t_s, t_pp, t_ps = tau(p), tau(s), tau(p, p), tau(p, s)
    n = k1**3 * tau(p, p, s) + k1 * k2 * (2 * t_p * t_ps + t_s * t_pp) + k3 * t_p**2 * t_s
    d1 = k1**2 * t_pp + k2 * t_p**2
    d2 = (
        k1**4 * tau(s, p, s, p)
        + k2 * k1**2 * (2 * t_s * tau(p, p, s) + 2 * t_p * tau(s, s, p) + 2 * t_ps**2)
        + k2**2 * (t_s**2 * t_pp + t_p**2 * tau(s, s))
        + 4 * k3 * k1 * t_s * t_p * t_ps
        + k4 * t_s**2 * t_p**2
    )
    return float(n / (d1 * d2) ** 0.5)
