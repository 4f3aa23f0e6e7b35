"""How fast hidden features move, and at which angle to the loss's descent."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.look import Look, Reference
from lazyrich.capture.network import gradient
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import CHIZAT2023, Quantity


@torch.no_grad()
def feature_speed(features: Float[Tensor, "*s"], velocity: Float[Tensor, "*s"]) -> float:
    """Relative speed of a layer's features, `‖ḣ‖ / ‖h‖`.

    Args:
        features: h over the probe batch.
        velocity: ḣ, its time derivative under the parameters' velocity.

    Returns:
        A rate ≥ 0 in 1/time.

    References:
        Chizat & Netrapalli, arXiv:2311.18718.
    """
    return float(velocity.double().norm() / features.double().norm())


@torch.no_grad()
def backward_feature_cosine(backward: Float[Tensor, "*s"], velocity: Float[Tensor, "*s"]) -> float:
    """Cosine of the backward-feature angle, `cos θ = −⟨b, ḣ⟩ / (‖b‖ ‖ḣ‖)`.

    Args:
        backward: `b = ∂L/∂h`.
        velocity: ḣ under gradient descent.

    Returns:
        Between 0 and 1 in a chain of layers; NaN if a factor is zero (Chizat & Netrapalli,
        arXiv:2311.18718).
    """
    b, v = backward.double(), velocity.double()
    return float(-(b * v).sum() / (b.norm() * v.norm()))


@torch.no_grad()
def speed_from_angle(
    squared_gradients: float, backward: Float[Tensor, "*s"], cosine: float
) -> float:
    """Feature speed by the identity `‖ḣ‖ = Σ_{k<l} η_k‖∇_{W_k}L‖² / (‖b‖ cos θ)`.

    Args:
        squared_gradients: `Σ η_k‖∇_{W_k}L‖²` over all parameters below the features.
        backward: `b = ∂L/∂h`.
        cosine: cos θ.

    Returns:
        ‖ḣ‖, the absolute speed; exact in chains of layers (arXiv:2311.18718).

    Example:
        >>> import torch
        >>> speed_from_angle(6.0, torch.tensor([3.0]), 0.5)
        4.0
    """
    return squared_gradients / (float(backward.double().norm()) * cosine)


def _speed(look: Look, _: Reference) -> Row:
    return {"feature_speed": {name: feature_speed(*both) for name, both in look.motion.items()}}


def _angle(look: Look, _: Reference) -> Row:
    """`b = ∂L/∂z` by one more backward pass."""
    with torch.enable_grad():
        slope = gradient(look.loss_of, look.f)
    at_layers = zip(look.capture.layers, look.capture.gradients(slope), strict=False)
    backward = {layer.name: torch.cat([b.flatten() for b in calls]) for layer, calls in at_layers}
    return {
        "backward_feature_cosine": {
            name: backward_feature_cosine(backward[name], z_dot)
            for name, (_z, z_dot) in look.motion.items()
        }
    }


SPEED = Observable(
    quantities=(
        Quantity(
            name="feature_speed",
            dims=("layer",),
            symbol="‖ḣ‖/‖h‖",
            meaning="relative speed of a layer's features",
            units="1/time",
            low=0.0,
            source=CHIZAT2023,
        ),
    ),
    measure=_speed,
    default=False,
)
ANGLE = Observable(
    quantities=(
        Quantity(
            name="backward_feature_cosine",
            dims=("layer",),
            symbol="cos θ",
            meaning="cosine of the angle between a layer's descent direction and its motion",
            low=-1.0,
            high=1.0,
            source=CHIZAT2023,
        ),
    ),
    measure=_angle,
    default=False,
)
