"""How far a trained network is from its linearisation."""

from __future__ import annotations

from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.isolation import undisturbed
from lazyrich.capture.look import Look, Reference
from lazyrich.capture.network import derivative
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import DERIVED, Quantity


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


def _linearisation(look: Look, reference: Reference) -> Row:
    network = reference.network
    if not network.theta.keys() <= look.capture.leaves.keys():  # such as pruned weights
        return {"linearisation_error": nan}
    moved = {
        name: look.capture.leaves[name].detach().to(start.dtype) - start
        for name, start in network.theta.items()
    }
    with undisturbed(network.module, twice=True):
        _, tangent = derivative(network, network.theta, moved)
    three = (look.f, reference.outputs, tangent.reshape(look.f.shape))
    return {"linearisation_error": linearisation_error(*map(look.capture.of_counted, three))}


LINEARISATION = Observable(
    quantities=(
        Quantity(
            name="linearisation_error",
            symbol="‖f − f_lin‖/‖f − f₀‖",
            meaning="share of the output's change that the linearised network misses",
            low=0.0,
            source=DERIVED,
        ),
    ),
    measure=_linearisation,
)
