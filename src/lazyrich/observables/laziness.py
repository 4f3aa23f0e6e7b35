"""How far a trained network is from its linearisation."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def linearisation_error(
    outputs: Float[Tensor, "*s"], initial: Float[Tensor, "*s"], tangent: Float[Tensor, "*s"]
) -> float:
    """Share of the output's change that the linear model misses.

    `‖f_t − f_0 − J_0(θ_t − θ_0)‖ / ‖f_t − f_0‖`

    Args:
        outputs: f_t on the probe batch.
        initial: f_0.
        tangent: `J_0(θ_t − θ_0)`, one Jacobian-vector product at θ_0.

    Returns:
        0 for a perfectly lazy network; not finite if the output did not move.

    Example:
        >>> import torch
        >>> linearisation_error(torch.tensor([3.0]), torch.tensor([1.0]), torch.tensor([1.0]))
        0.5
    """
    change = outputs.double() - initial.double()
    return float((change - tangent.double()).norm() / change.norm())
